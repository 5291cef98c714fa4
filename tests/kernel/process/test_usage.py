"""The process table and the disk, as a watchdog reads them."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.kernel.process.usage import (
    Process,
    disk_usage,
    parse_stat,
    process_table,
    read_process,
    tree,
    usage_of,
)

KIB = 1024


def process(pid: int, parent: int, session: int = 0) -> Process:
    return Process(
        pid=pid,
        parent=parent,
        group=session,
        session=session,
        name="x",
        state="S",
        cpu=0.0,
        rss=0,
        born=pid,
    )


def names(members: list[Process]) -> set[int]:
    return {member.pid for member in members}


def test_reads_a_name_with_spaces_and_parentheses() -> None:
    """A program chooses its own name; it must not shift the fields."""
    text = "77 (a) R 1 (b)) S 5 6 7 0 -1 0 0 0 0 0 10 20 30 40 20 0 1 0 99 4096 3 0"
    one = parse_stat(text)
    assert (one.pid, one.name, one.state) == (77, "a) R 1 (b)", "S")
    assert (one.parent, one.group, one.session, one.born) == (5, 6, 7, 99)
    assert one.cpu == 100 / os.sysconf("SC_CLK_TCK")
    assert one.rss == 3 * os.sysconf("SC_PAGE_SIZE")


def test_knows_this_process() -> None:
    """The table holds who reads it, with its parent."""
    table = process_table()
    assert table[os.getpid()].parent == os.getppid()
    assert read_process(2**22 + 1) is None  # above the most that Linux gives


def test_a_tree_has_descendants_and_the_sessions_they_lead() -> None:
    """An orphan in a session of the tree belongs to it; a stranger does not."""
    processes = [
        process(10, 1, 10),
        process(11, 10, 10),
        process(12, 11, 12),  # setsid
        process(13, 1, 12),  # an orphan of that session
        process(14, 13, 12),
        process(15, 1, 10),  # an orphan of the first session
        process(20, 1, 20),
    ]
    table = {one.pid: one for one in processes}
    assert names(tree(10, table)) == {10, 11, 12, 13, 14, 15}
    assert names(tree(12, table)) == {12, 13, 14}
    assert tree(99, table) == []


def test_what_is_gone_uses_nothing() -> None:
    """A watchdog may ask for a child that has just ended."""
    assert usage_of([2**22 + 1])[2**22 + 1].processes == 0
    assert usage_of([os.getpid()])[os.getpid()].memory > KIB * KIB


def test_disk_usage_counts_blocks_once_and_follows_nothing(tmp_path: Path) -> None:
    """Second names and links add nothing, and holes take no room."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    empty = disk_usage(folder)
    (folder / "file").write_bytes(bytes(64 * KIB))
    (folder / "sub" / "again").hardlink_to(folder / "file")
    (tmp_path / "outside").write_bytes(bytes(1024 * KIB))
    (folder / "link").symlink_to(tmp_path / "outside")
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert 64 * KIB <= disk_usage(folder) - empty < 128 * KIB
    assert disk_usage(tmp_path / "absent") == 0


def test_disk_usage_sees_what_is_buried_deep(tmp_path: Path) -> None:
    """Folders in each other beyond the length of a path are no place to hide."""
    inside = os.open(tmp_path, os.O_RDONLY)
    name = "deeper" * 20
    for _ in range(60):  # 7,200 characters
        os.mkdir(name, dir_fd=inside)
        below = os.open(name, os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = below
    hidden = os.open("hidden", os.O_WRONLY | os.O_CREAT, dir_fd=inside)
    os.write(hidden, bytes(256 * KIB))
    os.close(hidden)
    os.close(inside)
    assert disk_usage(tmp_path) >= 256 * KIB
