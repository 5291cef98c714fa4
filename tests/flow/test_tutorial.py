"""The tutorial's own scripts work against the appliance, over NATS and HTTP alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from .conftest import Desk

SCRIPTS = Path("docs/tutorial")


async def run(script: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of the tutorial to its end."""
    return await trio.run_process(
        [sys.executable, str(SCRIPTS / script), *words],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


async def test_the_articles_work(desk: Desk, tmp_path: Path) -> None:
    """Stage by a request of one's own, then run the droplet by an order of one's own."""
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed")
    bus, droplet = desk.running.endpoints.nats, tmp_path / "droplet.tgz"

    staged = await run("request_staging.py", bus, "sample_apps/sinatra-hello", str(droplet))

    assert staged.returncode == 0, staged.stderr.decode()
    log = staged.stdout.decode()
    for line in ("Downloading application", "Staging application", "Uploading droplet", "Done!"):
        assert line in log
    assert droplet.stat().st_size > 0

    host = "diy.apps.localhost"
    process = await trio.lowlevel.open_process(
        [sys.executable, str(SCRIPTS / "start_droplet.py"), bus, str(droplet), host],
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
        answer = await desk.get(host)
    assert answer.status == 200
    assert "Cloud Foundry" in answer.text

    await process.stdin.send_all(b"\n")
    with trio.fail_after(20):
        await process.wait()
        while (await desk.get(host)).status == 200:
            await trio.lowlevel.checkpoint()
    await process.stdout.aclose()
    await process.stdin.aclose()


async def test_an_unknown_framework_is_answered(desk: Desk, tmp_path: Path) -> None:
    """The script ends with the two lines of the stager's error."""
    script = (SCRIPTS / "request_staging.py").read_text()
    broken = tmp_path / "request_staging.py"
    broken.write_text(script.replace('"sinatra"', '"cobol"'))

    done = await trio.run_process(
        [sys.executable, str(broken), desk.running.endpoints.nats, "sample_apps/sinatra-hello",
         str(tmp_path / "none")],
        capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert b"Staging task failed:\n" in done.stderr
