"""The file viewer: folders as text, files as they are, and never a way out of an instance."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.kernel.errors import ApplianceError, NotFound
from appliance.kernel.http.auth import basic_auth
from appliance.kernel.http.blob_plane import Blob, Exchange

SHOWN = frozenset(("app", "logs", "tomcat"))  # at the top of an instance; the rest is ours
HOPS = 40  # links followed for one path, as the kernel's own limit

_INNER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Linux can look at a thing without opening it. Elsewhere it is opened, but waits for nobody.
_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
_DESCRIPTORS = "/proc/self/fd" if hasattr(os, "O_PATH") else "/dev/fd"


class NotAccessible(ApplianceError):
    """It may be there, but is not for viewing."""

    code, status = "not-accessible", 403


class FileViewer:
    """Serves ``/droplets/DIR/…``; *folder_of* gives the folder of an instance that is known."""

    def __init__(self, folder_of: Callable[[str], Path | None], credentials: list[str]) -> None:
        self._folder_of = folder_of
        self._user, self._password = credentials

    def routes(self) -> list[Blob]:
        """What to add to the DEA's server."""
        return [
            Blob("GET", "/droplets", self._answer),
            Blob("GET", "/droplets/*path", self._answer),
        ]

    async def _answer(self, exchange: Exchange) -> None:
        basic_auth(exchange.headers, self._user, self._password)
        parts = [part for part in exchange.params.get("path", "").split("/") if part]
        try:
            if ".." in parts:
                raise NotAccessible
            if not parts:
                # Whose instances are here is nobody's business.
                await exchange.reply(200, "")
                return
            await self._show(exchange, parts)
        except NotAccessible:
            await exchange.reply(403, "Not accessible\n")
        except (NotFound, FileNotFoundError, NotADirectoryError):
            await exchange.reply(404, "Entity not found.\n")

    async def _show(self, exchange: Exchange, parts: list[str]) -> None:
        folder = self._folder_of(parts[0])
        if folder is None:
            raise NotFound
        if len(parts) > 1 and parts[1] not in SHOWN:
            raise NotAccessible
        with opened_beneath(folder, parts[1:]) as found:
            status = os.fstat(found)
            # Opened again by its number: the same thing, whatever its name means by now.
            again = Path(f"{_DESCRIPTORS}/{found}")
            if stat.S_ISDIR(status.st_mode):
                await exchange.reply(200, listing(again, at_top=len(parts) == 1))
            elif stat.S_ISREG(status.st_mode):
                kind = mimetypes.guess_type(parts[-1])[0] or "text/plain"
                await exchange.send_file(again, content_type=kind)
            else:
                raise NotAccessible


def listing(folder: Path, *, at_top: bool) -> str:
    """The entries of *folder* as lines: the name in 35 columns, the size in 10."""
    lines = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if at_top and entry.name not in SHOWN:
                continue
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                is_folder = stat.S_ISDIR(status.st_mode)
                name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                size = "-" if is_folder else pretty(status.st_size)
                lines.append(f"{name + '/' * is_folder:<35}{size:>10}\n")
    return "".join(lines)


def pretty(size: int) -> str:
    """*size* in bytes, as short as the original: ``512B``, ``1.5K``, ``3.0M``."""
    if size < 1024:
        return f"{size}B"
    value = float(size)
    for unit in "KMG":
        value /= 1024
        if value < 1024:
            return f"{value:.1f}{unit}"
    return f"{value / 1024:.1f}T"


@contextmanager
def opened_beneath(folder: Path, parts: list[str]) -> Iterator[int]:
    """A descriptor (good for looking only) of what *parts* name below *folder*.

    Links are followed by hand, each step from the folder before it, so that none can lead
    out, even when the program changes them at this very moment.

    Raises:
      NotAccessible: a link leads out, or round in circles.
      FileNotFoundError, NotADirectoryError: there is no such thing.
    """
    stack = [os.open(folder, _INNER)]
    found = -1
    try:
        todo = list(reversed(parts))
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(stack) == 1:
                    raise NotAccessible
                os.close(stack.pop())
                continue
            found, target = _look(part, stack[-1])
            mode = stat.S_IFLNK if found < 0 else os.fstat(found).st_mode
            if stat.S_ISLNK(mode):
                hops += 1
                if hops > HOPS or target.startswith("/"):
                    raise NotAccessible
                todo.extend(reversed(target.split("/")))
            elif stat.S_ISDIR(mode):
                stack.append(os.open(".", _INNER, dir_fd=found))
            elif todo:
                raise NotADirectoryError
            else:
                break
            if found >= 0:
                os.close(found)
            found = -1
        yield stack[-1] if found < 0 else found
    finally:
        for descriptor in (*stack, found):
            if descriptor >= 0:
                os.close(descriptor)


def _look(part: str, folder: int) -> tuple[int, str]:
    """A descriptor of the thing called *part* in *folder* (-1 for a link), and where a link leads.

    Raises:
      NotAccessible: it became a link while it was looked at.
    """
    if not hasattr(os, "O_PATH"):
        with suppress(OSError):  # no link, or nothing at all: opening it will tell
            return -1, os.readlink(part, dir_fd=folder)
        try:
            return os.open(part, _LOOK, dir_fd=folder), ""
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK):
                raise NotAccessible from None
            raise
    found = os.open(part, _LOOK, dir_fd=folder)
    if not stat.S_ISLNK(os.fstat(found).st_mode):
        return found, ""
    try:
        return -1, os.readlink("", dir_fd=found)
    finally:
        os.close(found)
