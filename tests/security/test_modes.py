"""Files with secrets are for their owner alone, whatever the umask says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.real_up import up


def open_to_others(top: Path) -> dict[str, str]:
    """What somebody else could read or write below *top*, and its mode."""
    found = {}
    for folder, _, files in os.walk(top):
        for path in (Path(folder), *(Path(folder) / name for name in files)):
            mode = path.stat().st_mode
            # A folder may let pass who knows a name in it; the sandbox's user must.
            if mode & (0o066 if stat.S_ISDIR(mode) else 0o022):
                found[str(path.relative_to(top))] = oct(mode)
    return found


async def test_nobody_else_can_read_the_state(tmp_path: Path) -> None:
    """With umask 000: folders are closed, databases and the endpoints files are 0600."""
    state = tmp_path / "new" / "state"
    async with up(tmp_path, "--state", state, umask=0) as appliance:
        databases = [path for path in state.rglob("*") if ".sqlite" in path.name]
        modes = {str(path.relative_to(state)): path.stat().st_mode & 0o777 for path in databases}
        endpoints = {
            path: path.stat().st_mode & 0o777
            for path in (*tmp_path.rglob("endpoints.json"), state / "endpoints.json")
        }
        others = open_to_others(state)
        appliance.signal()
        assert await appliance.ended(15) == 0
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}, modes
    assert len(endpoints) == 3
    assert set(endpoints.values()) == {0o600}, endpoints
    # Where other users put files for the package cache to find; they cannot list it.
    assert others == {"package_cache/inbox/public": "0o41733"}
    assert state.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "appliance").stat().st_mode & 0o777 == 0o700
