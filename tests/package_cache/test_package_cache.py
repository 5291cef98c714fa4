"""The package cache over HTTP, with an index that is a folder."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.kernel.http.client import Response
from appliance.package_cache.builder import Builder
from tests.package_cache.conftest import Cache, make_wheel, running_cache


def members(package: Response) -> dict[str, bytes]:
    """The files of a package's archive."""
    with tarfile.open(fileobj=io.BytesIO(package.body)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in files.items() if file}


async def test_a_remote_package_is_built_once_and_then_found(cache: Cache, index: Path) -> None:
    """204, then 200; the archive has the module and its bytecode."""
    make_wheel(index, "hello", "1.2")
    assert (await cache.put("remote/pip/hello-1.2/python3")).status == 204
    assert (await cache.put("remote/pip/hello-1.2/python3")).status == 200
    assert cache.built() == ["hello-1.2@python3.tgz"]
    files = members(await cache.get("/packages/hello-1.2@python3.tgz"))
    assert files["hello.py"] == b'VERSION = "1.2"\n'
    assert any(name.startswith("__pycache__/hello.") for name in files)
    mode = (cache.root / "cache" / "hello-1.2@python3.tgz").stat().st_mode
    assert stat.S_IMODE(mode) == 0o744


async def test_equal_requests_share_one_build(
    cache: Cache, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who ask while it is built wait for the same build; one of them began it."""
    make_wheel(index, "hello", "1.2")
    go, real, answers = trio.Event(), Builder.remote_pip, list[int]()

    async def slow(*args: object) -> None:
        await go.wait()
        await real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Builder, "remote_pip", slow)

    async def ask() -> None:
        answers.append((await cache.put("remote/pip/hello-1.2/python3")).status)

    async with trio.open_nursery() as asking:
        for _ in range(5):
            asking.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.05)
        go.set()
    assert sorted(answers) == [200, 200, 200, 200, 204]
    assert len(cache.built()) == 1


async def test_a_failed_build_is_a_500_with_a_sentence_and_can_be_tried_again(
    cache: Cache, index: Path
) -> None:
    """The body is a JSON string, as in 2012; a failure is not remembered."""
    answer = await cache.put("remote/pip/hello-1.2/python3")
    assert answer.status == 500
    assert "hello" in answer.json()
    assert not list((cache.root / "builds").iterdir())
    make_wheel(index, "hello", "1.2")
    assert (await cache.put("remote/pip/hello-1.2/python3")).status == 204


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("near/pip/x-1/python3", "invalid location near"),
        ("remote/npm/x-1/python3", "invalid package_type npm"),
        ("remote/pip/x-1/cobol", "invalid runtime cobol"),
        ("remote/gem/x-1.gem/python3", "invalid runtime python3"),
        ("remote/pip/x/python3", "invalid package name 'x'"),
        (f"local/pip/{'0' * 40}.whl/python3", f"no file {'0' * 40}.whl in public inbox"),
    ],
)
async def test_what_is_wrong_is_said_as_in_2012(cache: Cache, path: str, sentence: str) -> None:
    """500 and a JSON string that names the part."""
    answer = await cache.put(path)
    assert answer.status == 500
    assert str(answer.json()).startswith(sentence)


async def test_a_file_from_the_inbox_is_installed(cache: Cache, tmp_path: Path) -> None:
    """The wheel's own name is found inside it; the inbox is empty afterwards."""
    name = cache.bring(make_wheel(tmp_path, "mine", "3.0"), prefix="abc123-")
    assert (await cache.put(f"local/pip/{name}/python3")).status == 204
    key = name.removeprefix("abc123-").replace(".whl", "@python3.tgz")
    assert "mine.py" in members(await cache.get(f"/packages/{key}"))
    assert not list((cache.root / "inbox" / "public").iterdir())
    assert not list((cache.root / "inbox" / "private").iterdir())


async def test_a_file_that_is_cached_already_does_not_stay_in_the_inbox(
    cache: Cache, tmp_path: Path
) -> None:
    """The original answered 200 and left the copy behind."""
    wheel = make_wheel(tmp_path, "mine", "3.0")
    await cache.put(f"local/pip/{cache.bring(wheel)}/python3")
    assert (await cache.put(f"local/pip/{cache.bring(wheel)}/python3")).status == 200
    assert not list((cache.root / "inbox" / "public").iterdir())


async def test_a_file_with_another_digest_is_refused(cache: Cache, tmp_path: Path) -> None:
    """And removed, so that it does not block the name."""
    name = cache.bring(make_wheel(tmp_path, "mine", "3.0"))
    path = cache.root / "inbox" / "public" / name
    path.write_bytes(path.read_bytes() + b"!")
    answer = await cache.put(f"local/pip/{name}/python3")
    assert (answer.status, answer.json()) == (500, "File hash invalid.")
    assert not path.exists()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "hard link"])
async def test_only_plain_files_are_taken(cache: Cache, tmp_path: Path, kind: str) -> None:
    """A link would read any file for its sender, a fifo would stop the cache."""
    wheel = make_wheel(tmp_path, "mine", "3.0")
    name = cache.bring(wheel)
    path = cache.root / "inbox" / "public" / name
    if kind == "hard link":
        os.link(path, path.with_name("other"))
    else:
        path.unlink()
        if kind == "link":
            path.symlink_to(wheel)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    with trio.fail_after(5):
        answer = await cache.put(f"local/pip/{name}/python3")
    assert answer.status == 500
    assert "no plain file" in answer.json()


async def test_a_gem_from_the_inbox_is_installed(cache: Cache, tmp_path: Path) -> None:
    """In the sandbox, into the folders that a GEM_HOME has."""
    if not shutil.which("gem"):
        pytest.skip("gem is not installed")
    (tmp_path / "tiny.gemspec").write_text(
        'Gem::Specification.new { |s| s.name = "tiny"; s.version = "0.1"; s.summary = "t"\n'
        's.authors = ["t"]; s.license = "MIT"; s.homepage = "http://localhost"\n'
        's.files = ["tiny.rb"] }\n'
    )
    (tmp_path / "tiny.rb").write_text("TINY = 1\n")
    done = await cache.kit.spawner.run(
        ["gem", "build", "tiny.gemspec", "-o", "tiny.gem"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=tmp_path,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    name = cache.bring(tmp_path / "tiny.gem")
    answer = await cache.put(f"local/gem/{name}/ruby")
    assert answer.status == 204, answer.text
    files = members(await cache.get(f"/packages/{name.replace('.gem', '@ruby.tgz')}"))
    assert "gems/tiny-0.1/tiny.rb" in files
    assert "specifications/tiny-0.1.gemspec" in files


async def test_requirements_become_pins_with_their_keys(cache: Cache, index: Path) -> None:
    """With what they require in turn, and the newest versions."""
    make_wheel(index, "base", "1.0")
    make_wheel(index, "base", "2.0")
    make_wheel(index, "hello", "1.2", requires=["base"])
    answer = await cache.resolve("Hello>=1\n")
    assert answer.json() == {
        "pins": [
            {"name": "base", "version": "2.0", "key": "base-2.0@python3.tgz"},
            {"name": "hello", "version": "1.2", "key": "hello-1.2@python3.tgz"},
        ],
        "fresh": True,
    }


async def test_pins_are_remembered_for_a_while(cache: Cache, index: Path) -> None:
    """A newer version shows up after `resolution_fresh` seconds, not before."""
    make_wheel(index, "hello", "1.0")
    await cache.resolve("hello\n")
    make_wheel(index, "hello", "2.0")
    assert (await cache.resolve("hello\n")).json()["pins"][0]["version"] == "1.0"
    cache.clock.ahead = 3600
    assert (await cache.resolve("hello\n")).json()["pins"][0]["version"] == "2.0"


async def test_older_pins_serve_while_the_index_is_away(
    cache: Cache, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says that they are not fresh, and how old they are."""
    make_wheel(index, "hello", "1.0")
    await cache.resolve("hello\n")
    cache.clock.ahead = 2 * 3600 + 5
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    body = (await cache.resolve("hello\n")).json()
    assert body["fresh"] is False
    assert body["note"] == "The index cannot be reached; versions are those of 2 hours ago."
    assert body["pins"][0]["version"] == "1.0"


async def test_without_index_and_memory_the_hint_says_how_to_go_on(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, the names that were wanted, and two ways out."""
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    answer = await cache.resolve("hello\nother>1\n")
    body = answer.json()
    assert (answer.status, body["code"]) == (503, "index-unreachable")
    assert "hello, other" in body["description"]
    assert "pip wheel -r requirements.txt -w vendor" in body["hint"]


async def test_offline_nothing_is_asked(
    root: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`offline` answers at once, and names the package."""
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    async with running_cache(root, offline=True) as cache:
        body = (await cache.resolve("hello\n")).json()
        assert body["code"] == "index-unreachable"
        assert "hello" in body["description"]


async def test_unsatisfiable_requirements_are_told_in_the_resolvers_words(
    cache: Cache, index: Path
) -> None:
    """422, and no trace of older pins."""
    make_wheel(index, "hello", "1.0")
    answer = await cache.resolve("hello==99\n")
    assert (answer.status, answer.json()["code"]) == (422, "unresolvable-requirements")
    assert "hello==99" in answer.json()["description"]


async def test_the_listing_leaves_out_what_only_its_owner_should_know(
    cache: Cache, index: Path, tmp_path: Path
) -> None:
    """Packages of the index are listed; a private file's digest is what lets one read it."""
    make_wheel(index, "hello", "1.2")
    await cache.put("remote/pip/hello-1.2/python3")
    await cache.put(f"local/pip/{cache.bring(make_wheel(tmp_path, 'mine', '3.0'))}/python3")
    listed = (await cache.get("/packages")).json()["packages"]
    assert [package["key"] for package in listed] == ["hello-1.2@python3.tgz"]
    assert listed[0]["size"] > 0


@pytest.mark.parametrize("key", ["nothing-1@python3.tgz", "..%2Finbox", "runtimes.json"])
async def test_what_is_no_package_is_a_404(cache: Cache, key: str) -> None:
    """Nothing but packages can be read."""
    assert (await cache.get(f"/packages/{key}")).status in (400, 404)


async def test_folders_have_the_modes_of_the_original(cache: Cache) -> None:
    """The cache cannot be listed, the public inbox takes files from everybody."""
    modes = {
        name: stat.S_IMODE((cache.root / name).stat().st_mode)
        for name in ("cache", "inbox/public", "inbox/private")
    }
    assert modes == {"cache": 0o711, "inbox/public": 0o1733, "inbox/private": 0o700}


async def test_packages_stay_and_the_inbox_is_emptied_over_a_restart(
    root: Path, index: Path, tmp_path: Path
) -> None:
    """And `purge_on_startup` removes the packages too."""
    make_wheel(index, "hello", "1.2")
    async with running_cache(root) as cache:
        await cache.put("remote/pip/hello-1.2/python3")
        cache.bring(make_wheel(tmp_path, "mine", "3.0"))
    async with running_cache(root) as cache:
        assert not list((root / "inbox" / "public").iterdir())
        assert (await cache.put("remote/pip/hello-1.2/python3")).status == 200
    async with running_cache(root, purge_on_startup=True) as cache:
        assert (await cache.put("remote/pip/hello-1.2/python3")).status == 204


async def test_packages_of_another_version_of_the_runtime_are_forgotten(
    root: Path, index: Path
) -> None:
    """After an upgrade of the system's Python, compiled modules would not load."""
    make_wheel(index, "hello", "1.2")
    async with running_cache(root) as cache:
        await cache.put("remote/pip/hello-1.2/python3")
    (root / "runtimes.json").write_text('{"python3": "/usr/bin/python3.1 4711 0"}')
    async with running_cache(root) as cache:
        assert [event.data["key"] for event in cache.events if event.what == "package.outdated"]
        assert (await cache.put("remote/pip/hello-1.2/python3")).status == 204


async def test_a_missing_runtime_is_dropped_and_named(root: Path, index: Path) -> None:
    """The cache starts all the same; who asks for it learns what to install."""
    runtimes = {"python3": "python3", "ruby18": "ruby1.8-not-here"}
    async with running_cache(root, runtimes=runtimes) as cache:
        [event] = [event for event in cache.events if event.what == "runtime.missing"]
        assert event.data["runtime"] == "ruby18"
        answer = await cache.put("remote/gem/x-1.gem/ruby18")
        assert "invalid runtime ruby18" in answer.json()
        assert "Install ruby1.8-not-here" in answer.json()
