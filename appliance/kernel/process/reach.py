"""Makes folders below closed ones (``/root`` is 0700) reachable for the sandbox's user.

Root drops to an ordinary user before it sandboxes, and that user cannot pass through a folder
whose mode keeps others out; no file descriptor helps, since a mount by descriptor is only
allowed from the same mount namespace. So the spawner's thread, and with it every child, gets a
mount namespace of its own, where such folders are also mounted below one that is open. Nothing
of it is seen by the rest of the appliance or of the machine, and it ends with the thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from appliance.kernel.process import syscalls
from appliance.kernel.process.folders import noted_folder


class Reach:
    """The aliases of one spawner. `of` is for anyone; the rest only for the spawner's thread."""

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._folder: Path | None = None  # of the aliases; made when the first is needed
        self._making = threading.Lock()
        self._made = ExitStack()
        self._mounted: dict[Path, Path] = {}  # path: alias

    def of(self, path: Path) -> Path:
        """*path* without links if the user can get there, else its alias, which need not exist."""
        path = Path(os.path.realpath(path))
        if passable(path.parent, self._uid):
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return self._aliases() / name

    def make(self, paths: Sequence[Path]) -> None:
        """Mount the aliases that *paths* need. Raises OSError where the kernel forbids it."""
        for given in paths:
            path, alias = Path(os.path.realpath(given)), self.of(given)
            if alias != path and path.exists():
                try:
                    self._mount(path, alias)
                except OSError as error:
                    why = f"user {self._uid} cannot reach {path}, nor be given a mount of it"
                    raise OSError(error.errno, f"{why} ({error.strerror})") from error

    def drop(self, path: Path) -> None:
        """Let go of everything at and below *path*, which is about to be removed."""
        for mounted in [one for one in self._mounted if one.is_relative_to(path)]:
            with suppress(OSError):
                syscalls.unmount(str(self._mounted.pop(mounted)))

    def close(self) -> None:
        """Remove the folder. The mounts end with the thread and its children."""
        self._made.close()

    def _aliases(self) -> Path:
        with self._making:
            if self._folder is None:
                parent = _open_parent(self._uid)
                self._folder = self._made.enter_context(noted_folder("reach", parent))
                self._folder.chmod(0o711)
            return self._folder

    def _mount(self, path: Path, alias: Path) -> None:
        if path in self._mounted:
            if _same(path, alias):
                return
            # The folder was removed and made anew: the alias still shows the old one.
            self.drop(path)
        if not self._mounted and not os.path.ismount(alias.parent):
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
            flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
            syscalls.mount("tmpfs", str(alias.parent), "tmpfs", flags, "mode=0711,size=1m")
        if path.is_dir():
            alias.mkdir(exist_ok=True)
        else:
            alias.touch()
        syscalls.mount(str(path), str(alias), flags=syscalls.MS_BIND | syscalls.MS_REC)
        self._mounted[path] = alias


def passable(folder: Path, uid: int) -> bool:
    """Whether the user *uid*, without groups, may pass through *folder* and all above it."""
    for one in (folder, *folder.parents):
        try:
            status = one.stat()
        except OSError:
            return False
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def _same(path: Path, alias: Path) -> bool:
    try:
        return os.path.samefile(path, alias)
    except OSError:
        return False


def _open_parent(uid: int) -> str:
    """A folder that *uid* can pass through; usually the temporary folder."""
    for parent in (tempfile.gettempdir(), "/run", "/tmp"):
        if passable(Path(os.path.realpath(parent)), uid) and os.access(parent, os.W_OK):
            return parent
    raise OSError(f"No folder for temporary files is open to user {uid}")
