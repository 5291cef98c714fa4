"""The rooms as processes of their own on a cluster of real NATS servers, and what kills do."""

from __future__ import annotations

import shutil
import sys

import pytest
import trio


async def test_an_app_outlives_one_of_each() -> None:
    """The example that `make cluster` runs, with two of each and a kill -9 for each."""
    if shutil.which("nats-server") is None:
        pytest.skip("nats-server is not installed")
    done = await trio.run_process(
        [sys.executable, "examples/cluster.py", "--small"],
        capture_stdout=True, capture_stderr=True, check=False,
    )  # fmt: skip
    said = done.stdout.decode()

    assert done.returncode == 0, said + done.stderr.decode()
    assert "11 processes are ready" in said
    for victim in ("nats-1", "stager-1", "archiver-1", "router-1", "dea-1", "the controller"):
        assert f"killed {victim}: it answers" in said
