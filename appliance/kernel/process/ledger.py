"""What an appliance has started and made, in a file that outlives it; and who holds a folder.

The file is locked for as long as its owner lives, by the kernel: whoever gets the lock knows
that the owner is dead, whatever has become of its pid, and `sweep` can clear up after it. The
same lock keeps a second appliance away from a state folder.

Nothing is synced to disk. A killed process loses nothing that it has written; after a power
cut no process of it is left either.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.kernel.process.usage import read_process
from appliance.kernel.store.errors import StateBusy, StateReadOnly

NAME = "appliance.lock"  # in a state folder
SUFFIX = ".journal"  # in the user's runtime folder, one for each process
SLOT = 512  # bytes of one entry, so that it is written, and taken back, by one system call
PATIENCE = 100  # looks, 10 ms apart, for an owner that has been killed and is about to go


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Who writes, or wrote, a ledger."""

    run: str  # names it for good; children have it in their environment
    boot: str  # "" where the system does not tell
    pidns: int  # the PID namespace that all the pids belong to
    pid: int
    born: int  # clock ticks since boot; with the pid it names a process for good
    command: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A ledger as it was read."""

    owner: Owner
    children: tuple[tuple[int, int], ...] = ()  # pid, and when it was born
    folders: tuple[Path, ...] = ()
    groups: tuple[Path, ...] = ()  # control groups


class Ledger:
    """An open ledger. Safe for several threads."""

    def __init__(self, path: Path, fd: int, owner: Owner) -> None:
        self.path = path
        self.run = owner.run
        self._fd = fd
        self._guard = threading.Lock()
        self._free: list[int] = []
        self._slots = 0
        os.ftruncate(fd, 0)
        self._note({"owner": asdict(owner)})

    def child(self, pid: int) -> int:
        """Note that *pid*, a child of ours, has begun; returns what `forget` wants."""
        process = read_process(pid)
        return self._note({"child": pid, "born": process.born if process else 0})

    def folder(self, path: Path) -> int:
        """Note that *path* is about to be made, and goes when we go.

        Raises:
          StateReadOnly: there is no room for the note.
        """
        return self._note({"folder": os.fspath(path)})

    def group(self, path: Path) -> int:
        """Note that *path*, a control group, is about to be made."""
        return self._note({"group": os.fspath(path)})

    def forget(self, slot: int) -> None:
        """Take a note back: what it was about is gone."""
        with self._guard:
            if self._fd >= 0:
                os.pwrite(self._fd, _padded(""), slot * SLOT)
                self._free.append(slot)

    def close(self) -> None:
        """Give up the lock. A ledger in a state folder stays there, empty."""
        with self._guard:
            if self._fd < 0:
                return
            if self.path.suffix == SUFFIX:
                with suppress(OSError):
                    self.path.unlink()
            else:
                os.ftruncate(self._fd, 0)
            # Closing alone would not do: the processes around our own namespace have it too.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1

    def _note(self, entry: Mapping[str, Any]) -> int:
        line = _padded(json.dumps(entry))
        with self._guard:
            if self._fd < 0:
                return -1
            if self._free:
                slot = self._free.pop()
            else:
                slot = self._slots
                self._slots += 1
            try:
                os.pwrite(self._fd, line, slot * SLOT)
            except OSError as error:
                self._free.append(slot)
                raise StateReadOnly(f"{self.path} cannot be written to ({error}).") from error
        return slot


def hold(state: Path, clear_up: Callable[[Found], None]) -> Ledger:
    """Hold the folder *state*. If its last owner was killed, *clear_up* is called first.

    Raises:
      StateBusy: a living appliance holds it; the sentence names it.
      StateReadOnly: the folder cannot be made or written to.
    """
    path = state / NAME
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateReadOnly(f"{state} cannot be used ({error.strerror}).") from error
    try:
        for _ in range(PATIENCE):
            if _locked(fd):
                break
            holder = read(fd)
            if holder is not None and _lives(holder.owner):
                raise _busy(state, holder)
            select.select([], [], [], 0.01)
        else:
            raise _busy(state, read(fd))
        if left := read(fd):
            clear_up(left)
        return Ledger(path, fd, ourselves())
    except BaseException:
        os.close(fd)
        raise


def journal(folder: Path | None = None) -> Ledger:
    """A new ledger of this process in *folder*, the user's runtime folder as a rule."""
    folder = folder or runtime_folder()
    owner = ourselves()
    path = folder / f"{owner.run}{SUFFIX}"
    with alone_in(folder):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return Ledger(path, fd, owner)


@contextmanager
def abandoned(folder: Path) -> Iterator[list[Found]]:
    """What dead processes have left in *folder*; their ledgers go when the block has done well.

    Two that sweep at the same time each get another part of it.
    """
    taken: list[tuple[Path, int]] = []
    try:
        with alone_in(folder):
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                with suppress(OSError):
                    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                    if _locked(fd):
                        taken.append((path, fd))
                    else:
                        os.close(fd)
        yield [found for _, fd in taken if (found := read(fd))]
        for path, _ in taken:
            path.unlink(missing_ok=True)
    finally:
        for _, fd in taken:
            os.close(fd)


def read(fd: int) -> Found | None:
    """What a ledger says; None when it has no owner. What cannot be understood is left out."""
    owner: Owner | None = None
    children, folders, groups = [], [], []
    for line in os.pread(fd, os.fstat(fd).st_size, 0).splitlines():
        try:
            entry = json.loads(line or b"{}")
            if "owner" in entry:
                owner = Owner(**entry["owner"])
            elif "child" in entry:
                children.append((int(entry["child"]), int(entry["born"])))
            elif "folder" in entry:
                folders.append(Path(entry["folder"]))
            elif "group" in entry:
                groups.append(Path(entry["group"]))
        except (ValueError, TypeError, KeyError):
            continue
    if owner is None:
        return None
    return Found(
        owner=owner, children=tuple(children), folders=tuple(folders), groups=tuple(groups)
    )


def ourselves() -> Owner:
    """This process, as the owner of a ledger."""
    process = read_process(os.getpid())
    born = process.born if process else 0
    return Owner(
        run=f"{os.getpid()}-{born}-{os.urandom(4).hex()}",
        boot=boot_id(),
        pidns=pid_namespace(),
        pid=os.getpid(),
        born=born,
        command="".join(c if " " <= c <= "~" else "?" for c in " ".join(sys.orig_argv)[:150]),
    )


def boot_id() -> str:
    """What names the time since the machine was started; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def pid_namespace() -> int:
    """What names the PID namespace that we are in; 0 where there are none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """A folder of this user alone, gone after a restart of the machine as a rule.

    Raises:
      StateReadOnly: none can be made.
    """
    environ = os.environ if environ is None else environ
    tries = [Path(tempfile.gettempdir()) / f"appliance-{os.getuid()}"]
    if given := environ.get("XDG_RUNTIME_DIR"):
        tries.insert(0, Path(given) / "appliance")
    why = ""
    for folder in tries:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
        except OSError as error:
            why = error.strerror or str(error)
            continue
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            why = "it is somebody else's"
        elif status.st_mode & 0o022:
            why = "others may write to it"
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            why = "it may not be written to"
        else:
            return folder
    raise StateReadOnly(f"{tries[-1]} cannot be used ({why}).")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other process makes or takes a ledger in *folder* meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(owner: Owner) -> bool:
    """Whether *owner* is surely there; not seeing it proves nothing, it may be in a container."""
    if (owner.boot, owner.pidns) != (boot_id(), pid_namespace()):
        return False
    process = read_process(owner.pid)
    return process is not None and process.born == owner.born and process.state != "Z"


def _busy(state: Path, holder: Found | None) -> StateBusy:
    who = "another appliance"
    if holder is not None:
        who = f"pid {holder.owner.pid} ({holder.owner.command})"
    return StateBusy(f"{state} is in use by {who}.")


def _padded(text: str) -> bytes:
    line = text.encode("utf-8", "surrogateescape")
    if len(line) >= SLOT:
        raise StateReadOnly(f"{text[:100]}… is too long a name for a private folder.")
    return line.ljust(SLOT - 1) + b"\n"
