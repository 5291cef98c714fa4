"""SIGTERM to a real ``appliance up``: what is on its way arrives, nothing new begins, status 0."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import trio

from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import HttpFailed
from tests.person import PUSH, Person, hello
from tests.real_up import Up, up

STUBBORN = """
import http.server, os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])),
                       http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@asynccontextmanager
async def visited(appliance: Up) -> AsyncIterator[Person]:
    """Somebody who is logged in at *appliance*."""
    client = Client()
    try:
        person = Person(appliance.endpoints["api"], client)
        await person.login()
        yield person
    finally:
        await client.aclose()


async def until_told(person: Person, what: str, **data: Any) -> None:
    """Wait until the trace tells *what* of the person's doings."""
    with trio.fail_after(20):
        while True:
            trace = await person.call("GET", f"/_appliance/trace?trace={PUSH}")
            for event in trace["events"]:
                if event["what"] == what and data.items() <= event["data"].items():
                    return


async def refused(url: str) -> None:
    """Wait until nobody listens at *url*."""
    split = urlsplit(url)
    with trio.fail_after(10):
        while True:
            try:
                stream = await trio.open_tcp_stream(split.hostname or "", split.port or 0)
            except OSError:
                return
            await stream.aclose()


async def test_sigterm_alone_ends_at_once_with_status_0(tmp_path: Path) -> None:
    """Idle, with an app that runs: within seconds, and without a word on stderr."""
    async with up(tmp_path) as appliance, visited(appliance) as person:
        await person.push("hello", tmp_path, hello())
        appliance.signal()
        assert await appliance.ended(8) == 0
        assert "Traceback" not in appliance.said.read_text()


async def test_an_upload_that_has_begun_arrives(tmp_path: Path) -> None:
    """Half of the body before SIGTERM, half of it when the door is closed: 200, and kept."""
    state = tmp_path / "state"
    async with up(tmp_path, "--state", state) as appliance, visited(appliance) as person:
        package = await person.package(await person.app("hello"))
        body = form(tmp_path)
        head = (
            f"POST /v3/packages/{package}/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: bearer {person.token}\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        split = urlsplit(person.api)
        async with await trio.open_tcp_stream(split.hostname or "", split.port or 0) as stream:
            await stream.send_all(head.encode() + body[: len(body) // 2])
            with trio.fail_after(10):
                while (await person.call("GET", f"/v3/packages/{package}"))["state"] != (
                    "PROCESSING_UPLOAD"
                ):
                    await trio.lowlevel.checkpoint()
            appliance.signal()
            await refused(person.api)
            assert appliance.process.poll() is None
            await stream.send_all(body[len(body) // 2 :])
            answer = b""
            with trio.fail_after(10):
                while piece := await stream.receive_some(65536):
                    answer += piece
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert await appliance.ended(8) == 0
    async with up(tmp_path, "--state", state) as again, visited(again) as person:
        assert (await person.call("GET", f"/v3/packages/{package}"))["state"] == "READY"


def form(folder: Path) -> bytes:
    """A multipart form with a zip of an app."""
    (folder / "app").mkdir()
    for name, text in hello().items():
        (folder / "app" / name).write_text(text)
    zipped = Path(shutil.make_archive(str(folder / "bits"), "zip", folder / "app")).read_bytes()
    return (
        b'--x\r\nContent-Disposition: form-data; name="resources"\r\n\r\n[]\r\n'
        b'--x\r\nContent-Disposition: form-data; name="bits"; filename="bits.zip"\r\n\r\n'
        + zipped + b"\r\n--x--\r\n"
    )  # fmt: skip


async def test_a_staging_that_has_begun_ends(tmp_path: Path) -> None:
    """The droplet is stored and the build STAGED; meanwhile nothing new is taken."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed, and no other build takes long enough")
    state = tmp_path / "state"
    source = Path("sample_apps/go-hello")
    files = {path.name: path.read_text() for path in source.iterdir() if path.suffix != ".toml"}
    async with up(tmp_path, "--state", state) as appliance, visited(appliance) as person:
        app = await person.app("hello")
        package = await person.upload(app, tmp_path, files)
        build = await person.call("POST", "/v3/builds", {"package": {"guid": package}})
        await until_told(person, "phase.finished", phase="detect")
        appliance.signal()
        with trio.fail_after(5):
            while (ready := await person.raw("GET", "/readyz")).status == 200:
                await trio.lowlevel.checkpoint()
        assert ready.status == 503
        assert ready.json()["stager"] == {"state": "draining"}
        late = await person.raw("POST", "/v3/builds", {"package": {"guid": package}})
        assert late.status == 503
        assert late.headers["retry-after"]
        assert "stopping" in late.text
        looked = await person.call("GET", f"/v3/builds/{build['guid']}")
        assert looked["state"] in ("STAGING", "STAGED")
        assert await appliance.ended(25) == 0
    async with up(tmp_path, "--state", state) as again, visited(again) as person:
        ended = await person.call("GET", f"/v3/builds/{build['guid']}")
        assert ended["state"] == "STAGED", ended
        droplet = ended["droplet"]["guid"]
        await person.call(
            "PATCH", f"/v3/apps/{app}/relationships/current_droplet", {"data": {"guid": droplet}}
        )
        await person.call("POST", f"/v3/apps/{app}/actions/start")
        with trio.fail_after(20):
            while await person.states(app) != ["RUNNING"]:
                await trio.lowlevel.checkpoint()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """An app that ignores SIGTERM has ten seconds; whoever cannot wait signals again."""
    async with up(tmp_path) as appliance, visited(appliance) as person:
        await person.push("stubborn", tmp_path, {"app.py": STUBBORN})
        below = psutil.Process(appliance.process.pid).children(recursive=True)
        appliance.signal()
        await refused(person.api)
        with trio.move_on_after(0.5):
            await appliance.ended(60)
        assert appliance.process.poll() is None
        appliance.signal()
        assert await appliance.ended(1) == 128 + signal.SIGTERM
        _, alive = psutil.wait_procs(below, timeout=2)
        assert alive == []


async def test_a_stubborn_app_is_killed_after_its_time(tmp_path: Path) -> None:
    """TERM, ten seconds (here one), KILL; then status 0 all the same."""
    settings = tmp_path / "appliance.toml"
    settings.write_text("[dea]\nstop_timeout = 1\n")
    async with up(tmp_path, "--config", settings) as appliance, visited(appliance) as person:
        await person.push("stubborn", tmp_path, {"app.py": STUBBORN})
        appliance.signal()
        assert await appliance.ended(8) == 0
        with pytest.raises(HttpFailed):
            await person.raw("GET", "/healthz")
