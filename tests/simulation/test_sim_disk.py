"""The simulated disk forgets what a real one may forget, and keeps what a real one keeps."""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.simulation.disk import File, Platter, SimDisk
from tests.simulation.life import Dead, Life

FOLDER, OTHER = Path("/folder"), Path("/other")
FILE = FOLDER / "file"
SEEDS = range(40)


def made(seed: int) -> tuple[Platter, SimDisk]:
    """A disk with two folders that are safe."""
    platter = Platter(Random(seed), Counter())
    disk = SimDisk(platter, Life())
    disk.make_folder(FOLDER)
    disk.make_folder(OTHER)
    disk.sync(Path("/"))
    return platter, disk


def write(platter: Platter, path: Path, data: bytes) -> None:
    platter.change(("make", str(path), "", File(data)))


def test_keeps_what_was_synced() -> None:
    """Bytes by their file's sync, the name by its folder's."""
    for seed in SEEDS:
        platter, disk = made(seed)
        write(platter, FILE, b"droplet")
        disk.sync(FILE)
        disk.sync(FOLDER)
        platter.power_cut()
        assert disk.open(FILE).read() == b"droplet"


def test_may_lose_a_name_that_was_not_synced() -> None:
    """In some power cuts the file is there, in some it is not."""
    seen = set()
    for seed in SEEDS:
        platter, disk = made(seed)
        write(platter, FILE, b"droplet")
        disk.sync(FILE)
        platter.power_cut()
        seen.add(disk.size(FILE))
    assert seen == {None, 7}


def test_may_tear_bytes_that_were_not_synced() -> None:
    """Nothing, a half, zeros or everything."""
    seen = set()
    for seed in SEEDS:
        platter, disk = made(seed)
        write(platter, FILE, b"droplet")
        disk.sync(FOLDER)
        platter.power_cut()
        seen.add(disk.open(FILE).read())
    assert seen == {b"", b"dro", b"dro\0\0\0\0", b"droplet"}


def test_a_rename_happens_whole_or_not_at_all() -> None:
    """A power cut never leaves two names or none."""
    seen = set()
    for seed in SEEDS:
        platter, disk = made(seed)
        write(platter, FILE, b"droplet")
        disk.sync(FILE)
        disk.sync(FOLDER)
        disk.rename(FILE, OTHER / "file")
        platter.power_cut()
        seen.add((disk.names(FOLDER) == ["file"], disk.names(OTHER) == ["file"]))
    assert seen == {(True, False), (False, True)}


def test_a_failed_sync_is_final() -> None:
    """The kernel may have dropped the bytes: a second sync says yes and changes nothing."""
    seen = set()
    for seed in SEEDS:
        platter, disk = made(seed)
        write(platter, FILE, b"droplet")
        disk.sync(FOLDER)
        platter.failing_syncs = 1
        with pytest.raises(OSError, match="Input/output error") as caught:
            disk.sync(FILE)
        assert caught.value.errno == errno.EIO
        disk.sync(FILE)
        platter.power_cut()
        seen.add(disk.open(FILE).read())
    assert b"" in seen


def test_a_dead_process_changes_nothing() -> None:
    """Its `finally` blocks run in this world, and must not."""
    platter = Platter(Random(1), Counter())
    life = Life()
    disk = SimDisk(platter, life)
    disk.make_folder(FOLDER)
    write(platter, FILE, b"droplet")
    life.end()
    for call in (disk.unlink, disk.open, disk.sync, disk.size):
        with pytest.raises(Dead):
            call(FILE)
    assert platter.file(FILE) is not None
