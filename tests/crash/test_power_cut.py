"""The power fails under a real archiver: what it acknowledged before is on the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.power_cut import CANNOT, Figures

TOOLS = ("mkfs.xfs", "mkfs.ext4", "losetup", "mount", "umount", "unshare")
SHORT, LONG = 8, 60  # power cuts
HERE = Path(__file__).parents[2]


def why_not() -> str:
    """What is missing here; "" when nothing is."""
    if os.geteuid() != 0:
        return "needs root, for mounting"
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"needs {', '.join(missing)} (xfsprogs, e2fsprogs, util-linux)"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices"
    return ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "nothing is missing")


def run(folder: Path, cuts: int, *without: str) -> Figures:
    """Cut and look; prints the figures, which are for docs/reliability.md."""
    loop = [sys.executable, "-m", "tests.crash.power_cut", str(folder), str(cuts), *without]
    done = subprocess.run(
        ["unshare", "--mount", *loop], cwd=HERE, capture_output=True, text=True, check=False
    )
    if done.returncode == CANNOT or "unshare failed" in done.stderr:
        pytest.skip(done.stdout.strip() or done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    figures = Figures(**found | {"losses": Counter(found["losses"])})
    print(f"\nwithout {', '.join(without) or 'nothing'}: {figures}")
    return figures


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The short form."""
    figures = run(tmp_path, SHORT)
    assert figures.checked
    assert not figures.losses


def test_finds_a_store_that_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """Without fsync something is lost; else the first test would prove nothing."""
    assert (run(tmp_path, SHORT // 2, "fsync")).losses


@pytest.mark.soak
def test_sixty_power_cuts(tmp_path: Path) -> None:
    """The long form."""
    figures = run(tmp_path, LONG)
    assert not figures.losses


@pytest.mark.soak
@pytest.mark.parametrize("without", ["fsync", "full"])
def test_sixty_power_cuts_find_what_is_missing(tmp_path: Path, without: str) -> None:
    """No fsync, and SQLite's NORMAL: each loses something."""
    assert (run(tmp_path, LONG, without)).losses


@pytest.mark.soak
def test_sixty_power_cuts_without_folder_fsync(tmp_path: Path) -> None:
    """ext4 nearly hides it: only the figures are of interest, the simulation finds it."""
    assert (run(tmp_path, LONG, "folder-fsync")).checked
