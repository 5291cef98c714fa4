"""A state folder has one appliance at a time, and none that is older than its content."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.crash.orphans_rig import TREE, place


def refused(state: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """What a second ``up`` on *state* says."""
    command = [sys.executable, "-m", "appliance", "up", "--port", "0", "--state", str(state)]
    return subprocess.run(
        [*command, *flags], capture_output=True, text=True, check=False, timeout=30, cwd=TREE
    )


@pytest.mark.parametrize("flags", [(), ("--no-own-pidns",)])
def test_a_second_appliance_is_refused_and_told_by_whom(flags: tuple[str, ...]) -> None:
    """Two lines and an exit code; the pid is the one that can be signalled; the first goes on."""
    with place(None, *flags, keep=True) as here, here.up() as first:
        assert here.state is not None
        done = refused(here.state)
        assert done.returncode == 34
        sentence, hint = done.stderr.splitlines()
        assert sentence.startswith(f"appliance: {here.state} is in use by pid {first.pid} (")
        assert f"--state {here.state}" in sentence
        assert hint == ("  hint: Stop the other appliance, or start with another --state folder.")
        told = json.loads(refused(here.state, "--output", "json").stdout)["error"]
        assert (told["code"], told["exit_code"]) == ("state-busy", 34)
        first.login()
        first.stop()
        with here.up() as second:
            second.stop()


def test_a_state_of_a_newer_version_is_refused() -> None:
    """In a sentence, and nothing in it is changed."""
    with place(None, keep=True) as here:
        assert here.state is not None
        database = here.state / "controller" / "controller.sqlite"
        database.parent.mkdir()
        connection = apsw.Connection(str(database))
        connection.execute("CREATE TABLE later (a)")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        done = refused(here.state)
        assert done.returncode == 32
        sentence, hint = done.stderr.splitlines()
        assert sentence.startswith(f"appliance: {database} has version 99 of its tables")
        assert hint.startswith("  hint: Update the appliance")
        connection = apsw.Connection(str(database))
        assert connection.pragma("user_version") == 99
        assert list(connection.execute("SELECT name FROM sqlite_schema")) == [("later",)]
        connection.close()
