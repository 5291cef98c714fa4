"""Control groups: the kernel counts what a sandbox uses as a whole, and kills it as a whole.

Used where they can be written to, which is found out by trying: version 2, where killing works
even without controllers, and for root also the trees of version 1 for memory and processes.

Going into a group takes about 10 ms, twice the time that a sandbox takes to start: the kernel
waits for all processors. So a program is put into its groups while it runs already, and one
that has ended before never is.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.kernel.process.profile import Limits
from appliance.kernel.process.usage import process_table, tree

LEAF = "appliance-leaf"  # where we go ourselves: a group with limits below it has no processes
PATIENCE = 100  # looks, 10 ms apart, for a group whose processes have been killed
ROUNDS = 20  # looks for those who were forked while the others were moved
OWN = 8  # processes of the sandbox itself, which the program's limit does not count


class Join(str):
    """A word of a command line that is no part of it: what runs belongs into groups of its own."""

    __slots__ = ("limits",)

    limits: Limits

    def __new__(cls, limits: Limits) -> Join:
        word = super().__new__(cls, "<groups>")
        word.limits = limits
        return word


@dataclass(frozen=True, slots=True)
class Tree:
    """One hierarchy, and where in it we may make groups."""

    base: Path
    version: int
    controllers: frozenset[str]
    note: int = -1  # in the ledger


class Group:
    """The groups of one child, one in each tree."""

    def __init__(self, trees: Iterable[Tree], name: str, limits: Limits) -> None:
        self._made: list[tuple[Tree, Path]] = []
        for hierarchy in trees:
            path = hierarchy.base / name
            path.mkdir()
            self._made.append((hierarchy, path))
            for file, value in settings(hierarchy, limits):
                # Swap, for one, is not counted on every machine.
                with suppress(OSError):
                    (path / file).write_text(value)

    def take(self, pid: int) -> None:
        """Move *pid* and all below it here, and whoever they fork meanwhile.

        The caller keeps *pid* from being collected. Raises OSError.
        """
        taken: set[tuple[int, int]] = set()
        for _ in range(ROUNDS):
            members = {(one.pid, one.born) for one in tree(pid, process_table())}
            if not members - taken:
                return
            for member, _born in members - taken:
                for _, path in self._made:
                    with suppress(ProcessLookupError):  # it has ended
                        (path / "cgroup.procs").write_text(str(member))
            taken |= members

    def kill(self) -> None:
        """Kill everybody in it, even those who are forking."""
        paths = {hierarchy.version: path for hierarchy, path in self._made}
        if path := paths.get(2) or paths.get(1):
            kill(path)

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed one of its processes for using more than it may."""
        for hierarchy, path in self._made:
            if "memory" in hierarchy.controllers:
                version = hierarchy.version
                file = path / ("memory.events" if version == 2 else "memory.oom_control")
                with suppress(OSError):
                    return bool(re.search(r"^oom_kill [1-9]", file.read_text(), re.MULTILINE))
        return False

    def remove(self) -> bool:
        """Remove it; False while somebody in it is still dying."""
        for entry in list(self._made):
            try:
                entry[1].rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return False
            self._made.remove(entry)
        return True


class Groups:
    """All groups of one spawner, below one of their own in each tree."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self.trees = tuple(trees)
        self._names = itertools.count(1)
        self._dying: list[Group] = []
        self._guard = threading.Lock()

    def __str__(self) -> str:
        """What they do, for people."""
        known = sorted({name for one in self.trees for name in one.controllers})
        version = ", ".join(f"v{one.version}" for one in self.trees)
        return f"{version}: {', '.join([*known, 'kill'])}"

    def join(self, pid: int, limits: Limits) -> Group | None:
        """Put the child *pid* with all below it into new groups; blocks for some 10 ms.

        None when the kernel forbids it. *pid* must not be collected meanwhile.
        """
        try:
            group = Group(self.trees, str(next(self._names)), limits)
        except OSError:
            return None
        try:
            group.take(pid)
        except OSError:
            self.remove(group)
            return None
        return group

    def remove(self, group: Group) -> None:
        """Remove *group*, whose first process has ended, now or a little later."""
        with self._guard:
            self._dying = [one for one in (*self._dying, group) if not one.remove()]

    def close(self, forget: Callable[[int], None]) -> None:
        """Remove all that is left, and *forget* the notes."""
        for hierarchy in self.trees:
            remove(hierarchy.base)
            forget(hierarchy.note)


def settings(tree: Tree, limits: Limits) -> list[tuple[str, str]]:
    """File and value for each limit that *tree* can keep."""
    found: list[tuple[str, str]] = []
    if "memory" in tree.controllers and limits.total:
        if tree.version == 2:
            found.append(("memory.max", str(limits.total)))
            found.append(("memory.swap.max", "0"))
            found.append(("memory.oom.group", "1"))
        else:
            found.append(("memory.limit_in_bytes", str(limits.total)))
            found.append(("memory.memsw.limit_in_bytes", str(limits.total)))
    if "pids" in tree.controllers:
        found.append(("pids.max", str(limits.processes + OWN)))
    return found


def find(name: str, note: Callable[[Path], int], forget: Callable[[int], None]) -> list[Tree]:
    """Trees in which we may make groups, with a new one called *name* made in each.

    Each is noted before it is made.
    """
    found = []
    for base, version, controllers in places(_read("mountinfo"), _read("cgroup")):
        if version == 2:
            base = base.parent if base.name == LEAF else base
            controllers = _enabled(base)
        path = base / name
        slot = note(path)
        try:
            path.mkdir()
        except OSError:
            forget(slot)
            continue
        found.append(Tree(path, version, controllers & {"memory", "pids"}, slot))
    return found


def places(mounts: str, own: str) -> list[tuple[Path, int, frozenset[str]]]:
    """Our own group in each hierarchy that is mounted: folder, version, controllers (v1)."""
    ours: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        ours |= dict.fromkeys(names.split(","), path)
    found = []
    for line in mounts.splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        root, place = head.split(" ")[3:5]
        here = frozenset(options.split(",")) & {"memory", "pids"}
        if kind == "cgroup2" and "" in ours:
            path, version = ours[""], 2
        elif kind == "cgroup" and here and (name := next(iter(here))) in ours:
            path, version = ours[name], 1
        else:
            continue
        # In a container without a namespace of its own the mount begins at its group.
        below = os.path.relpath(path, root) if Path(path).is_relative_to(root) else "."
        folder = Path(place) / below
        if re.fullmatch(r"[\w./@:-]+", str(folder)):  # it goes through a shell
            found.append((folder, version, here))
    return found


def into_leaf() -> None:
    """Go into a group below our own, if we are alone there and may: else no limits below it.

    For `up`, before it becomes several processes; "no internal processes" in cgroups(7).
    """
    for base, version, _ in places(_read("mountinfo"), _read("cgroup")):
        if version != 2 or not (base / "cgroup.type").exists():
            continue  # the root of the tree has no type, and no need
        with suppress(OSError):
            if (base / "cgroup.procs").read_text().split() == [str(os.getpid())]:
                (base / LEAF).mkdir(exist_ok=True)
                (base / LEAF / "cgroup.procs").write_text(str(os.getpid()))


def kill(path: Path) -> None:
    """Kill everybody in the group *path* and in those below it."""
    try:
        (path / "cgroup.kill").write_text("1")
    except OSError:
        for _ in range(100):  # version 1: somebody may be forking
            pids = [pid for folder in _folders(path) for pid in _members(folder)]
            if not pids:
                return
            for pid in pids:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


def remove(path: Path) -> None:
    """Kill who is in the group *path*, and remove it with those below it."""
    kill(path)
    for _ in range(PATIENCE):
        for folder in reversed(_folders(path)):
            with suppress(OSError):
                folder.rmdir()
        if not path.exists():
            return
        select.select([], [], [], 0.01)


def _folders(path: Path) -> list[Path]:
    return [path, *sorted(one for one in path.rglob("*") if one.is_dir())]


def _members(path: Path) -> list[int]:
    try:
        pids = (path / "cgroup.procs").read_text().split()
    except OSError:
        return []
    return [int(pid) for pid in pids if pid not in ("0", str(os.getpid()))]


def _enabled(base: Path) -> frozenset[str]:
    """The controllers for groups below *base*, once we have asked for those that are ours."""
    for name in ("memory", "pids"):
        with suppress(OSError):
            (base / "cgroup.subtree_control").write_text(f"+{name}")
    try:
        return frozenset((base / "cgroup.subtree_control").read_text().split())
    except OSError:
        return frozenset()


def _read(name: str) -> str:
    try:
        return Path(f"/proc/self/{name}").read_text()
    except OSError:
        return ""
