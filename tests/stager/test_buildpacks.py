"""Classic buildpacks, made of a few lines of shell, in a real stager and its sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.config import StagerConfig
from appliance.kernel.process.sandbox import HOME
from appliance.stager.messages import (
    BuildpackToTry,
    BuildpackUsed,
    ClearBuildCaches,
    Properties,
    Resources,
    StagedSidecar,
    StagingReply,
)
from tests.stager.conftest import Bench, running_bench, staging_info_of, started

APP = {"hello.txt": "hello\n"}

BASH = "#!/bin/bash\nset -e\n"
DETECT = BASH + 'if [ -f "$1/hello.txt" ]; then echo hello 1.0; else exit 1; fi\n'
#: Serves the app's files by what it has supplied.
SUPPLY = (
    BASH
    + """
echo "-----> Supplying $4"
mkdir -p "$3/$4/bin" "$3/$4/profile.d"
printf '#!/bin/bash\\nexec python3 -m http.server "$PORT"\\n' > "$3/$4/bin/serve"
chmod +x "$3/$4/bin/serve"
echo "export GREETING=hi" > "$3/$4/profile.d/greeting.sh"
echo "{name: hello, version: 1.0.3, config: {}}" > "$3/$4/config.yml"
"""
)
FINALIZE = (
    BASH
    + """
echo "args $1 $2 $3 $4 $5" >&2
echo "stack $CF_STACK memory $MEMORY_LIMIT greeting $GREETING"
echo "vcap $VCAP_APPLICATION $VCAP_SERVICES"
echo 'export PATH="$DEPS_DIR/0/bin:$PATH"' > "$5/path.sh"
"""
)
RELEASE = BASH + 'printf -- "---\\ndefault_process_types:\\n  web: serve\\n"\n'
FULL = {
    "bin/detect": DETECT,
    "bin/supply": SUPPLY,
    "bin/finalize": FINALIZE,
    "bin/release": RELEASE,
}


def supplying(name: str, more: str = "") -> dict[str, str]:
    """A buildpack that can only come before others: a program *name* that says so."""
    script = f"""
mkdir -p "$3/$4/bin"
printf '#!/bin/bash\\necho I am {name}\\n' > "$3/$4/bin/{name}"
chmod +x "$3/$4/bin/{name}"
{more}
"""
    return {"bin/supply": BASH + script}


async def stage(bench: Bench, *packs: BuildpackToTry, **properties: Any) -> StagingReply:
    """Stage the pushed app with a list of buildpacks."""
    return await bench.stage(properties=Properties(buildpack_list=list(packs), **properties))


def said(reply: StagingReply) -> list[str]:
    """The lines of the task log, without their times."""
    return [line.partition("] ")[2] for line in reply.task_log.splitlines()]


async def test_an_uploaded_buildpack_builds_an_app_that_runs(bench: Bench, folder: Path) -> None:
    """Supply, finalize and release get what Cloud Foundry promises; the droplet starts by it."""
    bench.push(APP)
    pack = bench.buildpack("hello_buildpack", FULL)
    reply = await stage(
        bench,
        pack,
        stack="cflinuxfs4",
        environment=["GREETING=hey"],
        resources=Resources(memory=512),
        vcap_application={"application_name": "it"},
        vcap_services={"user-provided": [{"name": "db"}]},
    )
    assert reply.error is None, reply.task_log
    lines = said(reply)
    home = HOME if bench.kit.spawner.sandbox.isolated else ""
    assert f"{home}/deps 0 {home}/profile.d" in next(x for x in lines if x.startswith("args "))
    assert "stack cflinuxfs4 memory 512m greeting hey" in lines
    assert 'vcap {"application_name": "it"} {"user-provided": [{"name": "db"}]}' in lines
    assert reply.process_types == {"web": "serve"}
    assert reply.detected == "hello_buildpack"
    assert reply.buildpacks == [
        BuildpackUsed(name="hello_buildpack", version="1.0.3", buildpack_name="hello")
    ]
    info = staging_info_of(bench.droplets[0])
    assert (info["detected_buildpack"], info["start_command"]) == ("hello_buildpack", "serve")
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        assert (await app.get(bench.kit, "/hello.txt")).text == "hello\n"


async def test_the_log_has_the_lines_that_users_know(bench: Bench) -> None:
    """In Cloud Foundry's words and order, with what the scripts say between them."""
    bench.push(APP)
    lines = said(await stage(bench, bench.buildpack("hello_buildpack", FULL)))
    known = [
        "Downloading hello_buildpack...",
        "Staging...",
        "-----> Supplying 0",
        "Exit status 0",
        "Uploading droplet, build artifacts cache...",
        "Uploading complete",
    ]
    assert [line for line in lines if line in known] == known
    assert any(line.startswith("Downloaded hello_buildpack (") for line in lines)
    bench.push({"index.html": ""})
    lines = said(await bench.stage())
    at = lines.index("Downloading staticfile_buildpack...")
    assert lines[at + 1] == "Downloaded staticfile_buildpack (built in)"


async def test_a_compile_script_is_enough(bench: Bench) -> None:
    """The old contract: no folder below deps, and a Procfile that it writes wins."""
    bench.push(APP)
    scripts = {
        "bin/compile": BASH + 'echo "$# args"; echo "worker: ./work" > "$1/Procfile"\n',
        "bin/release": BASH + "echo 'default_process_types: {web: ./old, worker: ./never}'\n",
    }
    reply = await stage(bench, bench.buildpack("old_buildpack", scripts))
    assert reply.error is None, reply.task_log
    assert "2 args" in said(reply)
    assert reply.process_types == {"web": "./old", "worker": "./work"}
    assert "deps/0" not in bench.droplets[0].members()


async def test_several_buildpacks_supply_and_the_last_one_decides(
    bench: Bench, folder: Path
) -> None:
    """Each has its folder; processes and sidecars of all launch.yml files are merged."""
    launch = """
cat > "$3/$4/launch.yml" <<END
processes:
- {type: web, command: never}
- type: agent
  command: tool --agent
  limits: {memory: 16}
  platforms: {cloudfoundry: {sidecar_for: [web]}}
END
"""
    last = {
        "bin/finalize": BASH
        + '"$3/0/bin/tool" --finalizing\n'
        + 'echo "processes: [{type: web, command: tool}]" > "$3/$4/launch.yml"\n'
        + 'echo \'export PATH="$DEPS_DIR/0/bin:$PATH"\' > "$5/path.sh"\n',
        "bin/release": BASH + "exit 1\n",  # not asked, since there is a launch.yml
    }
    bench.push(APP)
    reply = await stage(
        bench,
        bench.buildpack("tool_buildpack", supplying("tool", launch)),
        bench.buildpack("last_buildpack", last),
    )
    assert reply.error is None, reply.task_log
    assert "I am tool" in said(reply)
    assert reply.process_types == {"web": "tool"}
    agent = StagedSidecar(name="agent", command="tool --agent", process_types=["web"], memory=16)
    assert reply.sidecars == [agent]
    assert staging_info_of(bench.droplets[0])["sidecars"][0]["name"] == "agent"
    assert [used.name for used in reply.buildpacks or ()] == ["tool_buildpack", "last_buildpack"]
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("I am tool")


async def test_a_built_in_buildpack_uses_what_a_classic_one_supplied(
    bench: Bench, folder: Path
) -> None:
    """Its programs are in the path of the app, and so is what the last one installed."""
    bench.push({"app.py": "import os, shutil\nprint(shutil.which('tool'), os.environ['PATH'])\n"})
    tool = bench.buildpack("tool_buildpack", supplying("tool"))
    reply = await stage(bench, tool, BuildpackToTry(name="python_buildpack", skip_detect=True))
    assert reply.error is None, reply.task_log
    assert [used.buildpack_name for used in reply.buildpacks or ()] == [None, "python"]
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("/deps/0/bin/tool")
        await app.says("/deps/1/python/bin")


async def test_a_built_in_buildpack_supplies_a_classic_one(bench: Bench, folder: Path) -> None:
    """A Python app that a buildpack of the user's finishes has its environment."""
    last = {
        "bin/finalize": BASH,
        "bin/release": BASH + "echo 'default_process_types: {web: \"echo $PYTHONPATH\"}'\n",
    }
    bench.push({"app.txt": "no main file is needed"})
    reply = await stage(
        bench,
        BuildpackToTry(name="python_buildpack", skip_detect=True),
        bench.buildpack("last_buildpack", last),
    )
    assert reply.error is None, reply.task_log
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("/deps/0/python")


async def test_detection_goes_by_position(bench: Bench) -> None:
    """Uploaded ones and ours are asked in the list's order; what bin/detect says is told."""
    bench.push(APP | {"index.html": ""})
    never = bench.buildpack("never", FULL | {"bin/detect": "#!/bin/false\n"}, skip_detect=False)
    hello = bench.buildpack("hello_buildpack", FULL, skip_detect=False)
    static = BuildpackToTry(name="staticfile_buildpack")
    reply = await stage(bench, never, hello, static)
    assert reply.error is None, reply.task_log
    [used] = reply.buildpacks or ()
    assert (used.name, used.detect_output) == ("hello_buildpack", "hello 1.0")
    reply = await stage(bench, never, static, hello)
    [used] = reply.buildpacks or ()
    assert (used.name, used.detect_output) == ("staticfile_buildpack", "static")


@pytest.mark.parametrize(
    ("scripts", "code", "cloud"),
    [
        ({"bin/detect": BASH + "exit 1\n"}, "no-plugin-matched", "NoAppDetectedError - An app "),
        ({"bin/supply": BASH + "echo no >&2; exit 3\n"}, "build-failed", "BuildpackCompileFailed"),
        ({"bin/finalize": BASH + "kill -9 $$\n"}, "build-failed", "BuildpackCompileFailed - App "),
        ({"bin/release": BASH + "exit 1\n"}, "release-failed", "BuildpackReleaseFailed - App st"),
        ({"bin/release": BASH + "echo '['\n"}, "release-failed", "BuildpackReleaseFailed - App "),
    ],
)
async def test_errors_have_cloud_foundrys_names(
    bench: Bench, scripts: dict[str, str], code: str, cloud: str
) -> None:
    """Our own sentence says which script of which buildpack it was."""
    bench.push(APP)
    pack = bench.buildpack("bad", FULL | scripts, skip_detect="bin/detect" not in scripts)
    reply = await stage(bench, pack)
    assert (reply.error_code, reply.exit_code) == (code, 21 if "detect" in str(scripts) else 24)
    assert (reply.cloud_error or "").startswith(cloud)
    assert "bad" in (reply.error or "")
    assert not bench.droplets


async def test_too_late_has_cloud_foundrys_name(folder: Path) -> None:
    """A script that hangs is ended."""
    config = StagerConfig(root=folder / "stager", max_staging_duration=0.5)
    async with running_bench(folder, config) as bench:
        bench.push(APP)
        pack = bench.buildpack("slow", FULL | {"bin/supply": BASH + "sleep 60\n"})
        reply = await stage(bench, pack)
    assert reply.error_code == "staging-timed-out"
    assert (reply.cloud_error or "").startswith("StagingTimeExpired - Staging time expired: ")


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        ({"url": "gone"}, "404"),
        ({"sha256": "0" * 64}, "its digest differs"),
        ({"scripts": {"README": "nothing"}}, "no folder bin"),
        ({"scripts": {"bin/detect": DETECT}}, "neither bin/finalize nor bin/compile"),
        ({"first": {"bin/compile": BASH}}, "no bin/supply"),
    ],
)
async def test_what_is_no_buildpack_is_refused(
    bench: Bench, spoil: dict[str, Any], because: str
) -> None:
    """With its name, and without the login that the URL has in it."""
    bench.push(APP)
    more = {"sha256": spoil["sha256"]} if "sha256" in spoil else {}
    packs = [bench.buildpack("pack", spoil.get("scripts", FULL), **more)]
    if "url" in spoil:
        bench.buildpacks.clear()
    if "first" in spoil:
        packs = [bench.buildpack("first", spoil["first"]), *packs]
    reply = await stage(bench, *packs)
    assert reply.error_code == "buildpack-unavailable"
    assert because in (reply.error or "")
    assert "secret" not in (reply.error or "") + reply.task_log


async def test_a_buildpack_is_downloaded_once(bench: Bench) -> None:
    """By its digest, whoever needs it; one that is zipped with a folder around it will do."""
    bench.push(APP)
    pack = bench.buildpack("hello", {f"hello-main/{name}": text for name, text in FULL.items()})
    first = await bench.stage(app_id="a", properties=Properties(buildpack_list=[pack]))
    second = await bench.stage(app_id="b", properties=Properties(buildpack_list=[pack]))
    assert (first.error, second.error) == (None, None)
    assert bench.given == ["hello"]
    assert "Downloaded hello (cached)" in said(second)
    assert first.droplet_sha1 == second.droplet_sha1


async def test_only_so_many_buildpacks_are_kept(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were used longest ago are downloaded again."""
    monkeypatch.setattr("appliance.stager.buildpacks.shelf.KEPT", 1)
    bench.push(APP)
    one = bench.buildpack("one", FULL)
    two = bench.buildpack("two", FULL | {"VERSION": "2"})
    for pack in (one, two, two, one):
        assert (await stage(bench, pack)).error is None
    assert bench.given == ["one", "two", "one"]
    assert len(list((folder / "stager" / "buildpacks").iterdir())) == 1


async def test_an_app_cannot_change_the_buildpack_of_others(bench: Bench) -> None:
    """It is read-only while it runs, or belongs to somebody else."""
    if not bench.kit.spawner.sandbox.isolated:
        pytest.skip("nothing isolates programs on this machine")
    bench.push(APP)
    script = BASH + 'echo spoiled > "$(dirname "$0")/detect" && echo could write\n'
    reply = await stage(bench, bench.buildpack("greedy", FULL | {"bin/supply": script}))
    assert reply.error_code == "build-failed"
    assert "could write" not in said(reply)


CACHING = FULL | {
    "bin/supply": BASH
    + 'if [ -f "$2/kept" ]; then echo warm; else echo cold; fi; touch "$2/kept"\n'
}


async def test_the_cache_is_kept_until_it_is_cleared(bench: Bench) -> None:
    """Per app and buildpack; one app's, or all of them, can be forgotten."""
    bench.push(APP)
    one, two = bench.buildpack("one", CACHING), bench.buildpack("two", CACHING | {"v": "2"})

    async def temperature(app: str, pack: BuildpackToTry = one) -> str:
        reply = await bench.stage(app_id=app, properties=Properties(buildpack_list=[pack]))
        [word] = [line for line in said(reply) if line in ("warm", "cold")]
        return word

    async def clear(app: str | None) -> None:
        def times() -> int:
            return len([event for event in bench.events if event.what == "cache.cleared"])

        before = times()
        bench.kit.publish(ClearBuildCaches(app_id=app))
        with trio.fail_after(5):
            while times() == before:  # noqa: ASYNC110 (nobody answers the message)
                await trio.sleep(0.01)

    assert [await temperature("a"), await temperature("a"), await temperature("b")] == [
        "cold",
        "warm",
        "cold",
    ]
    await clear("a")
    assert [await temperature("a"), await temperature("b")] == ["cold", "warm"]
    await clear(None)
    assert [await temperature("a"), await temperature("b")] == ["cold", "cold"]
    # What another buildpack has left is of no use to this one, nor kept for ever.
    assert [await temperature("a", two), await temperature("a")] == ["cold", "cold"]


async def test_a_cache_that_grows_too_large_is_not_kept(folder: Path) -> None:
    """The next build is slower, but the disk is not filled."""
    config = StagerConfig(root=folder / "stager", max_build_cache=64 * 1024)
    async with running_bench(folder, config) as bench:
        bench.push(APP)
        script = CACHING["bin/supply"] + 'head -c 200000 /dev/zero > "$2/large"\n'
        pack = bench.buildpack("large", CACHING | {"bin/supply": script})
        await stage(bench, pack)
        again = said(await stage(bench, pack))
        assert "cold" in again
        assert "The build artifacts cache has more than 64K: it is not kept" in again


async def test_no_command_is_no_error(bench: Bench, folder: Path) -> None:
    """It may be given when the app is started; else the app says what is missing."""
    bench.push(APP)
    reply = await stage(bench, bench.buildpack("mute", FULL | {"bin/release": BASH}))
    assert reply.error is None
    assert reply.process_types == {}
    assert "No start command specified by buildpack or via Procfile." in said(reply)
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("No start command was given")


async def test_the_profile_d_of_the_app_is_read(bench: Bench, folder: Path) -> None:
    """After the buildpacks' own, and before its .profile."""
    files = {
        ".profile.d/a.sh": "export ORDER=$GREETING,profile.d\n",
        ".profile": "export ORDER=$ORDER,profile\n",
    }
    bench.push(APP | files)
    scripts = FULL | {
        "bin/release": BASH + "echo 'default_process_types: {web: \"echo $ORDER\"}'\n"
    }
    await stage(bench, bench.buildpack("hello", scripts))
    async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
        await app.says("hi,profile.d,profile")


async def test_classic_buildpacks_work_without_a_sandbox_too(folder: Path) -> None:
    """Then paths are the machine's own, and the droplet is the same."""
    async with running_bench(folder, StagerConfig(root=folder / "s"), sandbox="off") as bench:
        bench.push(APP)
        reply = await stage(bench, bench.buildpack("hello_buildpack", FULL))
        assert reply.error is None, reply.task_log
        assert reply.sandbox == "plain"
        async with started(bench.kit, bench.droplets[0], folder / "instance") as app:
            assert (await app.get(bench.kit, "/hello.txt")).text == "hello\n"


@pytest.mark.parametrize("network", ["none", "host"])
async def test_builds_reach_what_the_settings_say(folder: Path, network: str) -> None:
    """Nothing, or what the machine reaches."""
    config = StagerConfig(root=folder / "stager", network=network)
    async with running_bench(folder, config) as bench:
        if not bench.kit.spawner.sandbox.isolated:
            pytest.skip("nothing isolates programs on this machine")
        bench.push(APP)
        port = bench.url.rpartition(":")[2]
        probe = BASH + f"(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo reached || echo alone\n"
        reply = await stage(bench, bench.buildpack("curious", FULL | {"bin/supply": probe}))
        expected = {"none": "alone", "host": "reached"}[network]
        assert expected in said(reply)


@pytest.mark.parametrize(
    "trick",
    [
        'rm -rf "$3"; ln -s VICTIM "$3"',  # in place of deps
        'ln -s VICTIM "$3/1"',  # in place of the next one's folder
    ],
)
async def test_a_buildpack_cannot_lead_us_outside(bench: Bench, folder: Path, trick: str) -> None:
    """What the stager itself writes for the next one goes into the droplet, or nowhere."""
    victim = folder / "victim"
    victim.mkdir()
    bench.push({"index.html": ""})
    script = BASH + trick.replace("VICTIM", str(victim)) + "\n"
    first = bench.buildpack("tricky", {"bin/supply": script})
    reply = await stage(bench, first, BuildpackToTry(name="staticfile_buildpack", skip_detect=True))
    assert reply.error_code == "build-failed"
    assert not list(victim.iterdir())


async def test_a_buildpack_cannot_have_our_files_read_to_it(bench: Bench, folder: Path) -> None:
    """A launch.yml that is a link to a file of ours is none."""
    secret = folder / "secret.yml"
    secret.write_text("processes: [{type: worker, command: stolen}]\n")
    secret.chmod(0o600)
    first = {"bin/supply": BASH + f'ln -s {secret} "$3/$4/launch.yml"\n'}
    last = FULL | {"bin/supply": BASH + 'rm "$3/0/launch.yml"\n'}  # no droplet may have it
    bench.push(APP)
    reply = await stage(bench, bench.buildpack("nosy", first), bench.buildpack("last", last))
    assert reply.error is None, reply.task_log
    assert reply.process_types == {"web": "serve"}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A git repository behind a plain file server: its URL, and a commit of branch ``next``."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    work, bare = tmp_path / "work", tmp_path / "served" / "hello.git"
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.test")

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(work), *identity, *words],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    work.mkdir()
    git("init", "-q", "-b", "main")
    for branch, greeting in (("main", "hi"), ("next", "hey")):
        if branch != "main":
            git("checkout", "-q", "-b", branch)
        for name, text in FULL.items():
            path = work / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("Supplying", f"{greeting} from {branch},"))
            path.chmod(0o755)
        git("add", ".")
        git("commit", "-q", "-m", branch)
    commit = git("rev-parse", "next")
    git("checkout", "-q", "main")
    bare.parent.mkdir()
    git("clone", "-q", "--bare", str(work), str(bare))
    subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Tests are silent."""

    handler = partial(Quiet, directory=str(bare.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hello.git", commit
        server.shutdown()
        thread.join()


async def test_a_buildpack_can_come_from_git(bench: Bench, repository: tuple[str, str]) -> None:
    """Its default branch, another one, or a commit; what there is not is told."""
    url, commit = repository
    bench.push(APP)
    wished = {"": "hi from main,", "#next": "hey from next,", f"#{commit}": "hey from next,"}
    for fragment, greeting in wished.items():
        reply = await bench.stage(properties=Properties(buildpacks=[url + fragment]))
        assert reply.error is None, reply.task_log
        assert f"-----> {greeting} 0" in said(reply)
    [used] = reply.buildpacks or ()
    assert used.name == f"{url}#{commit}"
    reply = await bench.stage(properties=Properties(buildpacks=[url + "#nothing"]))
    assert reply.error_code == "buildpack-unavailable"
    assert "no branch, tag or commit nothing" in (reply.error or "")


async def test_a_buildpack_can_come_from_a_zip_somewhere(bench: Bench) -> None:
    """As in `cf push -b https://…/x.zip`."""
    bench.push(APP)
    pack = bench.buildpack("hello", FULL)
    reply = await bench.stage(properties=Properties(buildpacks=[pack.url or ""]))
    assert reply.error is None, reply.task_log
    assert "secret" not in reply.task_log + json.dumps(staging_info_of(bench.droplets[0]))
