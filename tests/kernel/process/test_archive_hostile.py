"""Hostile archives: each is refused with its entry and rule, or does no harm."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.kernel.process.archive import ArchiveRefused, unpack_tar, unpack_zip
from tests.kernel.process.hostile_archives import HARMLESS, ROWS, Row

CANARY = b"nobody may touch this"


def outside(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything beside the target: kind and mode, number of names, content."""
    seen = {}
    for path in sorted(folder.rglob("*")):
        if "into" in path.relative_to(folder).parts:
            continue
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        seen[str(path)] = (status.st_mode, status.st_nlink, data)
    return seen


def assert_harmless(into: Path) -> None:
    """Only files of ours, folders and links that stay inside; no odd modes."""
    for top, folders, files in os.walk(into):
        for name in folders + files:
            path = Path(top, name)
            status = path.lstat()
            assert status.st_uid == os.getuid()
            if stat.S_ISLNK(status.st_mode):
                assert path.resolve().is_relative_to(into)
                continue
            assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
            assert not status.st_mode & 0o7000
            assert status.st_blocks * 512 < 64 << 20


@pytest.mark.parametrize("hostile", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_refuses_or_disarms(hostile: Row, tmp_path: Path) -> None:
    """Nothing is written, linked or changed outside, and the refusal says what and why."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_bytes(CANARY)
    source = tmp_path / "archive"
    source.write_bytes(hostile.make())
    into = tmp_path / "into"
    before = outside(tmp_path)
    unpack = unpack_zip if hostile.kind.startswith("zip") else unpack_tar

    refusal: ArchiveRefused | None = None
    try:
        unpack(source, into)
    except ArchiveRefused as error:
        refusal = error

    assert outside(tmp_path) == before
    if into.exists():
        assert_harmless(into)
    if hostile.rule == HARMLESS:
        assert refusal is None
        return
    assert refusal is not None
    assert hostile.rule in str(refusal)
    assert refusal.status == 422
    if hostile.entry is not None:
        assert refusal.entry == hostile.entry


def test_there_are_enough_of_them() -> None:
    """Every row of the threat table is here, and no two have one name."""
    assert len(ROWS) >= 59
    assert len({row.name for row in ROWS}) == len(ROWS)
