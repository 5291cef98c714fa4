"""The stager on the bus: what it answers, in 2012's words, and when it answers an error."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.config import PackageCacheConfig, StagerConfig
from appliance.kernel.bus import RequestTimeout
from appliance.kernel.kit import joined
from appliance.logs.messages import LogLines
from appliance.package_cache import service as package_cache
from appliance.stager import service
from appliance.stager.messages import Properties, StagingReply, TaskQuestion, TaskState
from tests.package_cache.conftest import make_wheel
from tests.stager.conftest import Bench, running_bench, staging_info_of, started

HELLO = {"app.py": "print('hello')\n"}
SLOW = {"Procfile": "web: true", "go.mod": "module slow\n", "main.go": "package main\n"}


async def test_a_success_is_told_in_the_words_of_2012(bench: Bench) -> None:
    """Dated lines, one per step; digest and size are those of what was uploaded."""
    bench.push(HELLO)
    reply = await bench.stage()
    texts = [
        re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (.*)", line)
        for line in reply.task_log.splitlines()
    ]
    said = [match[1] for match in texts if match]
    assert len(said) == len(texts)
    steps = [
        "Setting up temporary directories",
        "Downloading application",
        "Unpacking application",
        "Staging application",
        "Creating droplet",
        "Uploading droplet",
        "Done!",
    ]
    assert [line for line in said if line in steps] == steps
    assert reply.error is None
    assert re.fullmatch("[0-9a-f]{32}", reply.task_id)
    assert reply.droplet_size == len(bench.droplets[0].data)
    assert reply.sandbox == bench.kit.spawner.sandbox.kind
    assert set(reply.phases or {}) == {"fetch", "unpack", "detect", "build", "pack", "upload"}


async def test_absent_fields_are_absent_on_the_wire(bench: Bench) -> None:
    """A client of 2012 looks whether there is an `error`."""
    bench.push(HELLO)
    from appliance.kernel.bus.codec import encode

    message = await bench.kit.bus.request("staging", encode(bench.request()), timeout=30)
    assert "error" not in json.loads(message.data)


async def test_a_stager_tells_how_a_task_is(bench: Bench) -> None:
    """Of its own ones: what it answered is told again; of others it says nothing."""
    bench.push(HELLO)
    reply = await bench.stage(task_id="t1")
    state = await bench.kit.request(TaskQuestion(), TaskState, subject="staging.task.t1", timeout=5)
    assert (state.state, state.reply) == ("finished", reply)
    with pytest.raises(RequestTimeout):
        await bench.kit.bus.request("staging.task.t2", b"{}", timeout=0.1)


async def test_the_same_app_gives_the_same_droplet(bench: Bench) -> None:
    """Byte for byte, so that it is stored once."""
    bench.push(HELLO)
    first, second = await bench.stage(), await bench.stage()
    assert first.task_id != second.task_id
    assert first.droplet_sha1 == second.droplet_sha1


async def test_events_tell_each_phase(bench: Bench) -> None:
    """For the push that the request belongs to."""
    bench.push(HELLO)
    with joined("push-1"):
        await bench.stage()
    events = [event for event in bench.events if event.trace == "push-1"]
    assert [event.what for event in events if event.what.startswith("staging")] == [
        "staging.started",
        "staging.finished",
    ]
    phases = [event.data["phase"] for event in events if event.what == "phase.finished"]
    assert phases == ["fetch", "unpack", "detect", "build", "pack", "upload"]


async def test_lines_are_live_on_the_bus(bench: Bench) -> None:
    """Before the reply, from STG, with times that differ; what a build prints is among them."""
    bench.push({"go.mod": "module x\n", "main.go": "package main\nfunc main() { undefined() }\n"})
    lines = []
    async with bench.kit.subscribe(LogLines) as inbox:
        reply = await bench.stage(app_id="guid-7")
        with trio.move_on_after(0.1):
            async for received in inbox:
                assert received.subject == "logs.lines.guid-7"
                lines += received.body.lines
    assert lines[0].text == "Setting up temporary directories"
    assert {line.source_type for line in lines} == {"STG"}
    times = [line.timestamp for line in lines]
    assert times == sorted(set(times))
    assert len(lines) == len(reply.task_log.splitlines())
    if reply.phase == "build":  # there is a Go
        assert any("undefined: undefined" in line.text and line.error for line in lines)


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'{"app_id": 1}', b'{"app_id": 1, "download_uri": "x", "upload_uri": "y"}', b""],
)
async def test_a_request_that_is_not_understood_gets_an_answer(bench: Bench, data: bytes) -> None:
    """The original stayed silent, and its client waited for two minutes."""
    message = await bench.kit.bus.request("staging", data, timeout=5)
    reply = json.loads(message.data)
    assert reply["error"].startswith("Staging task failed:\n ")
    assert len(reply["task_id"]) == 32
    assert reply["task_log"] == ""


async def test_a_2012_request_gets_a_2012_startup(bench: Bench) -> None:
    """framework_info and runtime_info as in the tutorial: token and `$@` are in the script."""
    bench.push({"hello.rb": "require 'sinatra'\n"})
    properties = Properties(
        framework_info={"name": "sinatra"},
        runtime_info={"name": "ruby19", "executable": "/usr/bin/ruby", "version": "1.9"},
    )
    reply = await bench.stage(app_id=7, properties=properties)
    if reply.error_code == "runtime-missing":
        pytest.skip("ruby is not installed")
    assert reply.error is None
    [droplet] = bench.droplets
    assert "%VCAP_LOCAL_RUNTIME% hello.rb $@ 2>&3 3>&- &" in droplet.text("startup")
    assert "ruby hello.rb" in staging_info_of(droplet)["start_command"]


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code", "detail"),
    [
        ("absent", "fetch-failed", 22, "Failed downloading app"),
        ("unreachable", "fetch-failed", 22, "Failed downloading app"),
        ("no zip", "unpack-failed", 23, "Failed unpacking app"),
        ("escaping", "unpack-failed", 23, "Failed unpacking app"),
        ("refused", "upload-failed", 26, "Failed uploading droplet"),
        ("not json", "build-failed", 24, "Staging plugin failed"),
        ("no main", "start-command-missing", 21, "Unable to determine Python startup command"),
        ("framework", "unknown-plugin", 21, "There is no framework 'grails'"),
    ],
)
async def test_each_phase_fails_in_its_own_way(
    bench: Bench, spoil: str, code: str, exit_code: int, detail: str
) -> None:
    """Two lines as in 2012; code, exit code and phase for programs; the reason in the log."""
    more: dict[str, Any] = {}
    bench.push(HELLO)
    assert bench.package
    if spoil == "absent":
        bench.package = None
    elif spoil == "unreachable":
        more["download_uri"] = "http://user:secret@127.0.0.1:9/app"
    elif spoil == "no zip":
        bench.package.write_bytes(b"this is no archive")
    elif spoil == "escaping":
        bench.push({"../../outside.py": ""})
    elif spoil == "refused":
        bench.refuse_upload = 409
    elif spoil == "not json":
        bench.push({"package.json": "{"})
    elif spoil == "no main":
        bench.push({"requirements.txt": "", "a.py": "", "b.py": ""})
    elif spoil == "framework":
        more["properties"] = Properties(framework_info={"name": "grails"})
    reply = await bench.stage(**more)
    if reply.error_code == "runtime-missing":
        pytest.skip("node is not installed")
    assert reply.error is not None
    first, second = reply.error.split("\n")
    assert first == "Staging task failed:"
    assert second.startswith(f" {detail}")
    assert (reply.error_code, reply.exit_code) == (code, exit_code)
    assert reply.phase is not None
    assert second.strip() in reply.task_log
    assert "secret" not in reply.error + reply.task_log
    assert not bench.droplets


async def test_a_build_that_hangs_is_stopped(folder: Path) -> None:
    """The original's limit never reached the task; ours ends the whole tree."""
    config = StagerConfig(root=folder / "stager", max_staging_duration=0.5)
    async with running_bench(folder, config) as bench:
        bench.held = trio.Event()
        bench.push(HELLO)
        reply = await bench.stage()
    assert (reply.error_code, reply.exit_code) == ("staging-timed-out", 27)
    assert reply.error == "Staging task failed:\n Staging timed out after 0.5 seconds."
    assert reply.phase == "fetch"


async def test_the_askers_own_limit_counts_too(bench: Bench) -> None:
    """The smaller of the two."""
    bench.held = trio.Event()
    bench.push(HELLO)
    assert (await bench.stage(timeout=0.2)).error_code == "staging-timed-out"


async def test_nothing_stays_on_disk_but_caches(bench: Bench, folder: Path) -> None:
    """After a success and after a failure."""
    bench.push(HELLO)
    await bench.stage()
    bench.push({"notes.txt": ""})
    await bench.stage()
    assert not list((folder / "stager" / "tasks").iterdir())


async def test_a_repeated_task_is_not_staged_twice(bench: Bench) -> None:
    """Asked again while it runs or afterwards, the reply is the same one."""
    bench.push(HELLO)
    bench.held = trio.Event()
    replies: list[StagingReply] = []

    async def ask() -> None:
        replies.append(await bench.stage(task_id="0" * 32))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await bench.asked.wait()
        asking.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.02)
        bench.held.set()
    await ask()
    assert replies[0] == replies[1] == replies[2]
    assert replies[0].task_id == "0" * 32
    assert bench.downloads == len(bench.droplets) == 1


async def test_a_full_queue_is_answered_at_once(folder: Path) -> None:
    """One runs, one waits, the third is told to come back; then the others finish."""
    config = StagerConfig(root=folder / "stager", max_active_tasks=1, max_waiting_tasks=1)
    async with running_bench(folder, config) as bench:
        bench.held = trio.Event()
        bench.push(HELLO)
        replies: list[StagingReply] = []

        async def ask() -> None:
            replies.append(await bench.stage())

        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await bench.asked.wait()
            asking.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.02)
            refused = await bench.stage()
            assert refused.error_code == "stager-busy"
            assert bench.downloads == 1
            bench.held.set()
    assert [reply.error for reply in replies] == [None, None]


async def test_stopping_finishes_what_runs_and_refuses_what_waits(folder: Path) -> None:
    """Nobody is left without an answer, and new requests find nobody."""
    config = StagerConfig(root=folder / "stager", max_active_tasks=1)
    async with running_bench(folder, config) as bench:
        bench.held = trio.Event()
        bench.push(HELLO)
        replies: dict[str, StagingReply] = {}

        async def ask(task_id: str) -> None:
            replies[task_id] = await bench.stage(task_id=task_id)

        async with trio.open_nursery() as asking:
            asking.start_soon(ask, "runs")
            await bench.asked.wait()
            asking.start_soon(ask, "waits")
            await trio.testing.wait_all_tasks_blocked(0.02)
            bench.kit.stopping.set()
            with trio.fail_after(5):
                while "waits" not in replies:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            bench.held.set()
    assert replies["waits"].error_code == "stager-stopping"
    assert replies["runs"].error_code in (None, "upload-failed")  # the server stops as well


async def test_a_task_that_takes_too_long_to_drain_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its asker is told, so that another stager can be asked."""
    monkeypatch.setattr(service, "DRAIN", 0.1)
    config = StagerConfig(root=folder / "stager")
    async with running_bench(folder, config) as bench:
        bench.push({"app.py": "", "requirements.txt": ""})
        never = trio.Event()

        async def hang(*_: object, **__: object) -> None:
            bench.asked.set()
            await never.wait()

        monkeypatch.setattr("appliance.stager.task.fetch", hang)
        async with trio.open_nursery() as asking:

            async def ask() -> None:
                reply = await bench.stage()
                assert reply.error_code == "stager-stopping"

            asking.start_soon(ask)
            await bench.asked.wait()
            bench.kit.stopping.set()


async def test_a_missing_runtime_names_its_package(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the program, the hint how to get it."""
    monkeypatch.setattr("appliance.stager.build.SYSTEM_PATH", "/nowhere")
    bench.push({"index.php": ""})
    reply = await bench.stage()
    assert reply.error_code == "runtime-missing"
    assert "php" in (reply.error or "")
    assert "apt install php-cli" in (reply.hint or "")


async def test_a_procfile_augments_and_a_command_overrides(bench: Bench) -> None:
    """All of its types are kept; the request's command wins for web."""
    bench.push({"app.py": "", "Procfile": "worker: ./work\nweb: ./serve\n"})
    reply = await bench.stage(properties=Properties(meta={"command": "python3 other.py"}))
    assert reply.process_types == {"web": "python3 other.py", "worker": "./work"}
    assert "python3 other.py 2>&3 3>&- &" in bench.droplets[0].text("startup")


async def test_a_build_cannot_write_through_links_that_it_leaves(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The droplet's frame is written with our rights, after foreign code had the folder."""
    from appliance.stager.plugins.plugin import Build, Launch
    from appliance.stager.plugins.procfile import ProcfilePlugin

    victim = folder / "victim"
    victim.write_text("mine")

    async def build(self: ProcfilePlugin, build: Build) -> Launch:
        await build.run("ln", "-s", str(victim), "../startup")
        await build.run("ln", "-sfn", str(folder), "../stop")
        return Launch(web="true")

    monkeypatch.setattr(ProcfilePlugin, "build", build)
    bench.push({"Procfile": "web: true"})
    reply = await bench.stage()
    assert reply.error is None, reply.task_log
    assert victim.read_text() == "mine"
    assert bench.droplets[0].members()["startup"].isfile()
    assert bench.droplets[0].members()["stop"].isfile()


async def test_a_build_that_replaces_a_folder_is_refused(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in place of profile.d would take our file elsewhere."""
    from appliance.stager.plugins.plugin import Build, Launch
    from appliance.stager.plugins.procfile import ProcfilePlugin

    async def build(self: ProcfilePlugin, build: Build) -> Launch:
        await build.run("rmdir", "../profile.d")
        await build.run("ln", "-s", str(folder), "../profile.d")
        return Launch(web="true", env={"A": "1"})

    monkeypatch.setattr(ProcfilePlugin, "build", build)
    bench.push({"Procfile": "web: true"})
    reply = await bench.stage()
    assert reply.error_code == "build-failed"
    assert not list(folder.glob("*.sh"))


async def test_the_build_cache_is_kept_per_app(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next build of the same app finds it, another app's does not."""
    from appliance.stager.plugins.plugin import Build, Launch
    from appliance.stager.plugins.procfile import ProcfilePlugin

    async def build(self: ProcfilePlugin, build: Build) -> Launch:
        kept = build.inside(build.cache / "kept")
        await build.run("bash", "-c", f"if [ -f {kept} ]; then echo warm; else touch {kept}; fi")
        return Launch(web="true")

    monkeypatch.setattr(ProcfilePlugin, "build", build)
    bench.push({"Procfile": "web: true"})
    assert "warm" not in (await bench.stage(app_id="a")).task_log.split("fi\n")[-1]
    assert "] warm" in (await bench.stage(app_id="a")).task_log
    assert "] warm" not in (await bench.stage(app_id="b")).task_log


async def test_vendored_wheels_are_installed_without_any_network(
    bench: Bench, folder: Path
) -> None:
    """The wheel in vendor/ is all there is; the app imports it when it runs."""
    wheel = make_wheel(folder, "mine", "3.0")
    bench.push(
        {
            "requirements.txt": "mine\n",
            "app.py": "import mine\nprint('version', mine.VERSION)\n",
            f"vendor/{wheel.name}": wheel.read_bytes(),
        }
    )
    reply = await bench.stage()
    assert reply.error is None, reply.task_log
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("version 3.0")


async def test_a_wheel_that_is_not_vendored_fails_with_its_name(bench: Bench, folder: Path) -> None:
    """The hint tells how to add it."""
    wheel = make_wheel(folder, "mine", "3.0")
    bench.push(
        {
            "requirements.txt": "mine\nother\n",
            "app.py": "",
            f"vendor/{wheel.name}": wheel.read_bytes(),
        }
    )
    reply = await bench.stage()
    assert reply.error_code == "build-failed"
    assert "other" in (reply.error or "")
    assert "pip wheel" in (reply.hint or "")


async def test_without_a_package_cache_requirements_say_what_to_do(bench: Bench) -> None:
    """No network is tried behind the user's back."""
    bench.push({"requirements.txt": "flask\n", "app.py": ""})
    reply = await bench.stage()
    assert (reply.error_code, reply.exit_code) == ("packages-unavailable", 24)
    assert "vendor" in (reply.hint or "")


@pytest.fixture
async def cached(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Bench, Path]]:
    """A stager with a package cache, whose index is a folder; and that folder."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(index))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    caching = PackageCacheConfig(bind="127.0.0.1:0", root=folder / "packages")
    async with running_bench(folder, StagerConfig(root=folder / "idle")) as idle:
        kit = idle.kit.named("package_cache")
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(package_cache.serve, caching, kit))
            config = StagerConfig(root=folder / "stager", package_cache=url)
            async with running_bench(folder, config) as bench:
                yield bench, index
            idle.kit.stopping.set()


async def test_requirements_come_from_the_package_cache(
    cached: tuple[Bench, Path], folder: Path
) -> None:
    """Resolved, built once, unpacked beside the app; two packages may share a folder's name."""
    bench, index = cached
    make_wheel(index, "base", "1.0")
    make_wheel(index, "hello", "2.0", requires=["base"], text="import base\nX = base.VERSION\n")
    bench.push({"requirements.txt": "hello\n", "app.py": "import hello\nprint('base', hello.X)\n"})
    reply = await bench.stage()
    assert reply.error is None, reply.task_log
    assert "Installing 2 packages from the package cache" in reply.task_log
    again = await bench.stage()
    assert again.droplet_sha1 == reply.droplet_sha1
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("base 1.0")


async def test_what_the_cache_cannot_provide_is_told(cached: tuple[Bench, Path]) -> None:
    """In the words of the cache."""
    bench, _ = cached
    bench.push({"requirements.txt": "nothing-like-it\n", "app.py": ""})
    reply = await bench.stage()
    assert reply.error_code == "packages-unavailable"
    assert "nothing-like-it" in (reply.error or "")
    bench.push({"requirements.txt": "--index-url http://127.0.0.1:9/\nx\n", "app.py": ""})
    assert "line 1" in ((await bench.stage()).error or "")


async def test_a_cache_that_does_not_answer_is_told(folder: Path) -> None:
    """With the way out."""
    config = StagerConfig(root=folder / "stager", package_cache="http://127.0.0.1:9")
    async with running_bench(folder, config) as bench:
        bench.push({"requirements.txt": "flask\n", "app.py": ""})
        reply = await bench.stage()
    assert reply.error_code == "packages-unavailable"
    assert "127.0.0.1:9" in (reply.error or "")
    assert "vendor" in (reply.hint or "")


async def test_a_wsgi_app_needs_no_package(bench: Bench, folder: Path) -> None:
    """The `wsgi` framework of 2012: its wsgi.py is served by the standard library."""
    bench.push(
        {
            "wsgi.py": "def application(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            "    return [b'wsgi says hello']\n"
        }
    )
    reply = await bench.stage(properties=Properties(framework_info={"name": "wsgi"}))
    assert reply.error is None, reply.task_log
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        assert (await app.get(bench.kit)).text == "wsgi says hello"


async def test_a_static_site_is_served_as_browsers_expect(bench: Bench, folder: Path) -> None:
    """Types, own 404 page, validators that change with the content, nothing hidden."""
    bench.push(
        {
            "Staticfile": "root: public\n",
            "secret.txt": "no",
            "public/index.html": "<h1>home</h1>",
            "public/404.html": "lost",
            "public/a.css": "x{}",
            "public/deep/index.html": "deep",
            "public/.htpasswd": "no",
        }
    )
    assert (await bench.stage()).detected == "static"
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        home = await app.get(bench.kit)
        assert home.text == "<h1>home</h1>"
        assert "last-modified" not in home.headers
        again = await bench.kit.http.request(
            "GET",
            f"http://127.0.0.1:{app.port}/",
            headers={"If-None-Match": home.headers["etag"]},
        )
        assert again.status == 304
        assert (await app.get(bench.kit, "/a.css")).headers["content-type"] == "text/css"
        assert (await app.get(bench.kit, "/deep/")).text == "deep"
        assert (await app.get(bench.kit, "/deep")).status == 301
        for path in ("/nothing", "/.htpasswd", "/../secret.txt", "/%2e%2e/secret.txt"):
            lost = await app.get(bench.kit, path)
            assert (lost.status, lost.text) == (404, "lost"), path


async def test_a_single_page_app_gets_its_index_for_every_path(bench: Bench, folder: Path) -> None:
    """`pushstate: enabled` in the Staticfile."""
    bench.push({"Staticfile": "pushstate: enabled\n", "index.html": "spa"})
    await bench.stage()
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        answer = await app.get(bench.kit, "/some/view")
        assert (answer.status, answer.text) == (200, "spa")


async def test_builds_work_without_a_sandbox_too(folder: Path) -> None:
    """Where nothing isolates, paths are the machine's own, and the reply says so."""
    wheel = make_wheel(folder, "mine", "3.0")
    async with running_bench(folder, StagerConfig(root=folder / "s"), sandbox="off") as bench:
        bench.push(
            {
                "requirements.txt": "mine\n",
                "app.py": "import mine\nprint('version', mine.VERSION)\n",
                f"vendor/{wheel.name}": wheel.read_bytes(),
            }
        )
        reply = await bench.stage()
        assert reply.error is None, reply.task_log
        assert reply.sandbox == "plain"
        assert "deps/0/python/mine.py" in bench.droplets[0].members()
