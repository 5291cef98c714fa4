"""The tutorial's own scripts work against the appliance, over NATS and HTTP alone."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
import trio

import appliance
from appliance.binding import anywhere
from appliance.boot import Running
from appliance.config import Config
from tests.nats_server import NatsServer

from .conftest import Desk

SCRIPTS = Path("docs/tutorial")
STEPS = ("Downloading application", "Staging application", "Uploading droplet", "Done!")
#: Sample app, the scripts' words for its framework and its runtime, and what it says.
SINATRA = ("sinatra-hello", [], [], b"Cloud Foundry")  # the articles' own
PYTHON = ("python-hello", [""], ["python3"], b"Hello from Python")


async def run(script: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of the tutorial to its end."""
    return await trio.run_process(
        [sys.executable, str(SCRIPTS / script), *words],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


@asynccontextmanager
async def on(bus: str, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """An appliance whose bus takes NATS clients: its own, or that of a real NATS server."""
    config = Config()
    if bus == "nats-server":
        server: NatsServer = request.getfixturevalue("nats_server")
        config = Config(bus=server.url)
    async with appliance.running(anywhere(config)) as running:
        yield running


@pytest.mark.parametrize(
    ("bus", "sample"),
    [("listener", SINATRA if shutil.which("ruby") else PYTHON), ("nats-server", PYTHON)],
    ids=["listener", "nats-server"],
)
async def test_the_articles_work(
    bus: str,
    sample: tuple[str, list[str], list[str], bytes],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Stage by a request of one's own, then run the droplet by an order of one's own."""
    app, framework, runtime, says = sample
    async with on(bus, request) as running:
        url, droplet = running.endpoints.nats, tmp_path / "droplet.tgz"

        staged = await run(
            "request_staging.py", url, f"sample_apps/{app}", str(droplet), *framework
        )

        assert staged.returncode == 0, staged.stderr.decode()
        for line in STEPS:
            assert line in staged.stdout.decode()
        assert droplet.stat().st_size > 0
        await runs(Desk(running, str(tmp_path)), url, droplet, runtime, says)


async def runs(desk: Desk, url: str, droplet: Path, runtime: list[str], says: bytes) -> None:
    """The second script starts *droplet*, and stops it again when Enter is pressed."""
    host = "diy.apps.localhost"
    process = await trio.lowlevel.open_process(
        [sys.executable, str(SCRIPTS / "start_droplet.py"), url, str(droplet), host, *runtime],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = b""
    with trio.fail_after(30):
        while host.encode() not in said:
            more = await process.stdout.receive_some()
            assert more, said
            said += more
        while (answer := await desk.get(host)).status != 200:
            await trio.lowlevel.checkpoint()
    assert says in answer.body

    await process.stdin.send_all(b"\n")
    with trio.fail_after(20):
        await process.wait()
        while (await desk.get(host)).status == 200:
            await trio.lowlevel.checkpoint()
    await process.stdout.aclose()
    await process.stdin.aclose()


def script() -> ModuleType:
    """The first script as a module, for what asks without NATS."""
    spec = importlib.util.spec_from_file_location("request", SCRIPTS / "request_staging.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_same_request_works_within_the_process(desk: Desk) -> None:
    """On the local bus itself, with an HTTP endpoint of the client's own."""
    client = script()
    client.Controller.package = client.zipped(Path("sample_apps/python-hello"))
    with ThreadingHTTPServer(("127.0.0.1", 0), client.Controller) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        question = client.request(f"http://127.0.0.1:{server.server_port}", "")
        message = await desk.running.kit.bus.request(
            "staging", json.dumps(question).encode(), timeout=30
        )
        await trio.to_thread.run_sync(server.shutdown)
        thread.join()
    reply = json.loads(message.data)

    assert "error" not in reply
    for line in STEPS:
        assert line in reply["task_log"]
    assert client.Controller.droplet.startswith(b"\x1f\x8b")


async def test_an_unknown_framework_is_answered(desk: Desk, tmp_path: Path) -> None:
    """The script ends with the two lines of the stager's error."""
    done = await run(
        "request_staging.py", desk.running.endpoints.nats, "sample_apps/sinatra-hello",
        str(tmp_path / "none"), "cobol",
    )  # fmt: skip

    assert done.returncode == 1
    assert b"Staging task failed:\n" in done.stderr
