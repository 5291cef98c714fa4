"""A stager and a DEA started with their files of 2012 serve the client of the tutorial."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.nats_server import NatsServer

SCRIPTS = Path("docs/tutorial")

STAGER = """---
logging:
  level: debug2
pid_filename: {folder}/stager/stager.pid
nats_uri: {nats}
max_staging_duration: 120
max_active_tasks: 10
queues: ['staging']
secure: false
"""
DEA = """---
base_dir: {folder}/var/dea
pid: {folder}/var/run/dea.pid
mbus: {nats}
filer_port: 0

multi_tenant: true
max_memory: 1024
logging:
  level: debug
"""


@asynccontextmanager
async def role(room: str, config: Path, folder: Path) -> AsyncIterator[None]:
    """``appliance up --only ROOM -c FILE`` while the block runs."""
    ready, log = folder / f"{room}.json", folder / f"{room}.log"
    words = ("up", "--only", room, "-c", str(config), "--ready-file", str(ready))
    with log.open("wb") as said:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "appliance", *words],
            stdout=said, stderr=said, env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        )  # fmt: skip
    try:
        with trio.fail_after(30):
            while not ready.exists():
                assert process.poll() is None, log.read_text()
                await trio.sleep(0.02)
        yield
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            assert await process.wait() == 0, log.read_text()


async def test_the_files_of_the_articles_work(nats_server: NatsServer, tmp_path: Path) -> None:
    """On a real NATS, with the tutorial's own scripts as the only controller."""
    files = {}
    for room, text in (("stager", STAGER), ("dea", DEA)):
        files[room] = tmp_path / f"{room}.yml"
        files[room].write_text(text.format(folder=tmp_path, nats=nats_server.url))
    app, droplet = tmp_path / "app", tmp_path / "droplet.tgz"
    app.mkdir()
    (app / "main.py").write_text(Path("sample_apps/python-hello/app.py").read_text())
    (app / "Procfile").write_text("web: python3 main.py\n")

    async with role("stager", files["stager"], tmp_path), role("dea", files["dea"], tmp_path):
        pid = int((tmp_path / "stager" / "stager.pid").read_text())
        os.kill(pid, 0)
        staged = await trio.run_process(
            [sys.executable, str(SCRIPTS / "request_staging.py"), nats_server.url, str(app),
             str(droplet), ""],
            capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip
        assert staged.returncode == 0, staged.stderr.decode()
        assert b"Uploading droplet" in staged.stdout

        process = await trio.lowlevel.open_process(
            [sys.executable, str(SCRIPTS / "start_droplet.py"), nats_server.url, str(droplet),
             "diy.example", "python3"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        with trio.fail_after(30):
            while b"diy.example is at" not in said:
                more = await process.stdout.receive_some()
                assert more, said
                said += more
        assert list((tmp_path / "var" / "dea" / "apps").iterdir())
        await process.stdin.aclose()
        with trio.fail_after(20):
            assert await process.wait() == 0
        await process.stdout.aclose()
    assert not (tmp_path / "stager" / "stager.pid").exists()
