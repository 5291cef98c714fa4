"""A push from end to end: what is sent, stored, copied, run and shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

import appliance
from appliance.archiver.messages import DropletStored

from .conftest import Desk, children, mounts

HELLO = Path("sample_apps/python-hello")


async def test_the_whole_way(desk: Desk) -> None:
    """Two archivers hold the droplet, one instance runs, the router answers."""
    kit = desk.running.kit
    async with kit.subscribe(DropletStored) as stored:
        pushed = await desk.cli("push", "hello", HELLO, "--output", "json")
        assert pushed.status == 0, pushed
        with trio.fail_after(10):
            copies = [(await stored.__anext__()).body for _ in range(2)]

    assert {copy.archiver for copy in copies} == {"archiver-0", "archiver-1"}
    assert {copy.replica for copy in copies} == {False, True}
    assert len({copy.sha256 for copy in copies}) == 1
    assert (await desk.get("hello.apps.localhost")).status == 200
    shown = await desk.cli("app", "hello", "--output", "json")
    assert [one["state"] for one in shown.json["processes"][0]["stats"]] == ["RUNNING"]


async def test_a_second_push_sends_no_files(desk: Desk) -> None:
    """The same files again: all matched, none uploaded, and the app never stopped answering."""
    first = await desk.cli("push", "hello", HELLO, "--output", "json")
    second = await desk.cli("push", "hello", HELLO, "--output", "json")

    assert first.json["uploaded"]["files"] > 0
    assert second.status == 0, second
    assert second.json["uploaded"]["files"] == 0
    assert second.json["matched"] == first.json["uploaded"]["files"]


async def test_a_broken_version_leaves_the_old_one(desk: Desk, tmp_path: Path) -> None:
    """The push fails in the phase that broke; the previous version goes on answering."""
    app = tmp_path / "app"
    shutil.copytree(HELLO, app)
    assert (await desk.cli("push", "hello", app)).status == 0
    before = (await desk.get("hello.apps.localhost")).text
    for file in app.glob("*.py"):
        file.write_text("raise SystemExit('broken on purpose')\n")

    broken = await desk.cli("push", "hello", app, "--output", "json")

    assert broken.status == 42, broken
    assert broken.json["error"]["phase"] == "start"
    assert (await desk.get("hello.apps.localhost")).text == before


async def test_a_new_version_answers_without_a_gap(desk: Desk, tmp_path: Path) -> None:
    """While a push replaces the app, every request gets an answer of one version or the other."""
    app = tmp_path / "app"
    shutil.copytree(HELLO, app)
    assert (await desk.cli("push", "hello", app)).status == 0
    (source,) = app.glob("*.py")
    source.write_text(source.read_text().replace("Hello", "Welcome"))
    seen: set[str] = set()

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            while True:
                answer = await desk.get("hello.apps.localhost")
                assert answer.status == 200
                seen.add("new" if "Welcome" in answer.text else "old")

    asking = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, asking)
        assert (await desk.cli("push", "hello", app)).status == 0
        asking.cancel()

    assert "Welcome" in (await desk.get("hello.apps.localhost")).text
    assert "old" in seen


async def test_scale_stop_start_delete(desk: Desk) -> None:
    """The verbs of every day."""
    assert (await desk.cli("push", "hello", HELLO)).status == 0
    assert (await desk.cli("scale", "hello", "-i", 3)).status == 0
    shown = await desk.cli("app", "hello", "--output", "json")
    assert [one["state"] for one in shown.json["processes"][0]["stats"]] == ["RUNNING"] * 3
    assert (await desk.cli("stop", "hello")).status == 0
    assert (await desk.get("hello.apps.localhost")).status == 404
    assert (await desk.cli("start", "hello")).status == 0
    assert (await desk.get("hello.apps.localhost")).status == 200
    assert (await desk.cli("restart", "hello")).status == 0
    assert (await desk.get("hello.apps.localhost")).status == 200
    assert "hello.apps.localhost" in (await desk.cli("routes")).out
    assert "staged" in (await desk.cli("droplets", "hello")).out
    assert (await desk.cli("delete", "hello", "-f")).status == 0
    assert (await desk.get("hello.apps.localhost")).status == 404
    assert (await desk.cli("apps", "--output", "json")).json["apps"] == []


async def test_a_crashed_instance_comes_back(desk: Desk) -> None:
    """Killed from outside, the instance is missed and started again."""
    import psutil

    assert (await desk.cli("push", "hello", HELLO)).status == 0
    for child in psutil.Process().children(recursive=True):
        if any("app.py" in word or "server" in word for word in child.cmdline()[1:]):
            child.kill()

    with trio.fail_after(20):
        while (await desk.get("hello.apps.localhost")).status == 200:
            await trio.lowlevel.checkpoint()
        while (await desk.get("hello.apps.localhost")).status != 200:
            await trio.lowlevel.checkpoint()


async def test_a_command_makes_any_files_an_app(desk: Desk, tmp_path: Path) -> None:
    """Nothing recognises a text file, but with ``-c`` it is served."""
    (tmp_path / "notes.txt").write_text("remember the milk")
    command = "python3 -m http.server $PORT"

    pushed = await desk.cli("push", "notes", tmp_path, "-c", command, "--output", "json")

    assert pushed.status == 0, pushed
    assert (await desk.get("notes.apps.localhost", "/notes.txt")).text == "remember the milk"


async def test_the_trace_tells_the_push(desk: Desk) -> None:
    """Who sent what to whom, in order, as text and as a diagram."""
    assert (await desk.cli("push", "hello", HELLO)).status == 0

    events = (await desk.cli("trace", "hello", "--format", "json")).json["events"]
    told = [(event["room"], event["what"]) for event in events]

    for step in (
        ("controller", "package.uploaded"),
        ("stager", "message.received"),
        ("stager", "staging.finished"),
        ("controller", "droplet.delivered"),
        ("dea", "message.received"),
        ("router", "message.received"),
    ):
        assert step in told, told
    rooms = {event["room"] for event in events}
    assert {"archiver-0", "archiver-1"} <= rooms
    diagram = (await desk.cli("trace", "hello", "--format", "mermaid")).out
    assert diagram.startswith("sequenceDiagram")
    assert "stager" in (await desk.cli("trace", "hello")).out


async def test_state_is_kept(tmp_path: Path) -> None:
    """With a state folder the app runs again after a stop and a start."""
    from appliance.boot import anywhere
    from appliance.config import Config

    config = anywhere(Config(state=tmp_path / "state"))
    async with appliance.running(config) as running:
        desk = Desk(running, str(tmp_path))
        assert (await desk.cli("push", "hello", HELLO)).status == 0
        before = (await desk.cli("app", "hello", "--output", "json")).json["guid"]

    async with appliance.running(config) as running:
        desk = Desk(running, str(tmp_path))
        with trio.fail_after(20):
            while (await desk.get("hello.apps.localhost")).status != 200:
                await trio.lowlevel.checkpoint()
        assert (await desk.cli("app", "hello", "--output", "json")).json["guid"] == before


async def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, mount, or file remains of an appliance that ran an app."""
    import tempfile

    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before, mounted = children(), mounts()

    async with appliance.running() as running:
        desk = Desk(running, str(tmp_path / "home"))
        assert (await desk.cli("push", "hello", HELLO)).status == 0

    assert children() <= before
    assert mounts() == mounted
    assert [str(path) for path in tmp_path.rglob("*") if path.is_file()] == []
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "home"}


async def test_an_app_is_an_image(desk: Desk, tmp_path: Path) -> None:
    """skopeo copies the staged app out of the registry."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    assert (await desk.cli("push", "hello", HELLO)).status == 0
    registry = desk.running.endpoints.registry.removeprefix("http://")

    copied = await trio.run_process(
        ["skopeo", "copy", "--insecure-policy", "--src-tls-verify=false",
         f"docker://{registry}/hello:latest", f"oci:{tmp_path}/image:latest"],
        capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip

    assert copied.returncode == 0, copied.stderr.decode()
    assert (tmp_path / "image" / "index.json").exists()
