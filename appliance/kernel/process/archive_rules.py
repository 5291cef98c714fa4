"""What an archive may contain: names, links, sizes. Pure; every refusal names entry and rule."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

from appliance.kernel.errors import ApplianceError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

NAME_BYTES = 255  # of one component, as Linux file systems allow
PATH_BYTES = 1024  # of a whole name, and of a link's target
RATIO_FREE = 4 * MIB  # small archives may shrink as well as they like
LINK_HOPS = 40  # as the kernel's own limit, MAXSYMLINKS
LINK_STEPS = 200  # components that resolving may visit, on average per link

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Kind = Literal["file", "folder", "link"]
Parts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """How much one archive may unpack to."""

    entries: int = 20_000  # files, links and folders, implied folders included
    bytes: int = 4 * GIB  # of all files together, declared and written
    ratio: int = 100  # unpacked to packed, counted above RATIO_FREE
    depth: int = 64  # components of a name


#: Droplets hold whole dependency trees: `node_modules` alone may have 100,000 files.
DROPLET_LIMITS = ArchiveLimits(entries=200_000)


class ArchiveRefused(ApplianceError):
    """An archive breaks a rule; *entry* is the name it breaks it with, "" for the whole."""

    code, status, exit_code = "archive-refused", 422, 23
    hint = "Make the archive anew from plain files, folders and relative links."

    def __init__(self, entry: str | bytes, rule: str) -> None:
        self.entry = printable(entry)
        self.rule = rule
        subject = f"Its entry {self.entry!r} {rule}" if entry else f"It {rule}"
        super().__init__(f"The archive was refused. {subject}.")


def printable(name: str | bytes) -> str:
    """*name* for a sentence: other bytes escaped, and no longer than a line."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    return text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}"


def parse_name(raw: bytes, limits: ArchiveLimits, *, leading_dot: bool = False) -> Parts:
    """The components of an entry's name; a final slash is left out.

    With *leading_dot*, ``./a`` is ``a`` and ``./`` is ``()``, the top itself, as `tar -C x .`
    writes them.
    """
    name = _text(raw, raw)
    if "\\" in name:
        raise ArchiveRefused(raw, "has a backslash in its name")
    if name[1:2] == ":":
        raise ArchiveRefused(raw, "starts with a drive letter")
    if name.startswith("/"):
        raise ArchiveRefused(raw, "has an absolute name")
    if leading_dot and (name == "." or name.startswith("./")):
        name = name[2:]
        if not name:
            return ()
    if not name:
        raise ArchiveRefused(raw or "(empty)", "has an empty name")
    if len(raw) > PATH_BYTES:
        raise ArchiveRefused(raw, f"has a name of more than {PATH_BYTES} bytes")
    parts = tuple(name.removesuffix("/").split("/"))
    if len(parts) > limits.depth:
        raise ArchiveRefused(raw, f"is more than {limits.depth} folders deep")
    for part in parts:
        if part in ("", ".", ".."):
            raise ArchiveRefused(raw, f"has {part!r} as a part of its name")
        if len(part) * 4 > NAME_BYTES and len(part.encode()) > NAME_BYTES:
            raise ArchiveRefused(raw, f"has a part of more than {NAME_BYTES} bytes in its name")
    return parts


def parse_target(entry: str, raw: bytes) -> str:
    """The target of a symbolic link, if it is one that could stay inside."""
    target = _text(raw, entry, "link target")
    if not target:
        raise ArchiveRefused(entry, "is a link to nothing")
    if len(raw) > PATH_BYTES:
        raise ArchiveRefused(entry, f"is a link to a name of more than {PATH_BYTES} bytes")
    if target.startswith("/"):
        raise ArchiveRefused(entry, f"is a link to the absolute name {printable(target)!r}")
    return target


def _text(raw: bytes, entry: str | bytes, what: str = "name") -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveRefused(entry, f"has a {what} that is not UTF-8") from None
    if _CONTROL.search(text):
        raise ArchiveRefused(
            entry if isinstance(entry, str) else ascii(text)[1:-1],
            f"has a control character in its {what}",
        )
    return text


@dataclass
class Catalogue:
    """What an archive has declared so far; the next entry must fit in with it."""

    limits: ArchiveLimits
    size: int = 0  # bytes that its files declare
    links: dict[str, str] = field(default_factory=dict)  # path → target
    _kinds: dict[str, tuple[Kind, str]] = field(default_factory=dict)  # by NFC path; as spelled
    _folders: set[Parts] = field(default_factory=set)  # known to be folders, spelled so
    _count: int = 0  # of _kinds, before the entry that is being added

    @property
    def entries(self) -> int:
        """Entries so far, with the folders that they imply."""
        return len(self._kinds)

    def add(self, parts: Parts, kind: Kind, *, size: int = 0, target: str = "") -> None:
        """Take in one entry.

        Raises:
          ArchiveRefused: it is there already, lies below a file or a link, or a limit is passed.
        """
        if parts[:-1] not in self._folders:
            self._imply(parts[:-1], parts)
        path = "/".join(parts)
        self._put(path, kind, path)
        if kind == "folder":
            self._folders.add(parts)
        elif kind == "link":
            self.links[path] = target
        self.size += size
        if self.size > self.limits.bytes:
            raise ArchiveRefused(path, f"brings it above {self.limits.bytes:,} bytes unpacked")

    def is_file(self, parts: Parts) -> bool:
        """Whether a regular file with exactly this name came before."""
        path = "/".join(parts)
        return self._kinds.get(_nfc(path)) == ("file", path)

    def check_links(self) -> None:
        """Follow every link within the archive; none may climb out or go round in circles.

        Links that lead to nothing are harmless and stay. The number of steps is bounded
        for all links together, so that a tangle of links costs no more than honest ones.
        """
        steps = LINK_STEPS * len(self.links) + 10_000
        for path in self.links:
            steps = self._follow(path, steps)

    def _follow(self, path: str, steps: int) -> int:
        at: list[str] = []
        todo = path.split("/")[::-1]
        hops = 0
        while todo:
            steps -= 1
            if steps < 0:
                raise ArchiveRefused(path, "is part of a tangle of links")
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise ArchiveRefused(path, "is a link that leads outside")
                at.pop()
                continue
            at.append(part)
            target = self.links.get("/".join(at))
            if target is not None:
                hops += 1
                if hops > LINK_HOPS:
                    raise ArchiveRefused(path, "is a link that goes round in circles")
                at.pop()
                todo.extend(reversed(target.split("/")))
        return steps

    def _imply(self, folder: Parts, parts: Parts) -> None:
        for depth in range(1, len(folder) + 1):
            above = folder[:depth]
            if above not in self._folders:
                self._put("/".join(above), "folder", "/".join(parts))
                self._folders.add(above)
        self._folders.add(folder)

    def _put(self, path: str, kind: Kind, entry: str) -> None:
        key = _nfc(path)
        known = self._kinds.setdefault(key, (kind, path))
        if known == ("folder", path) and kind == "folder":
            pass  # named twice, or implied before: harmless
        elif known[1] != path:
            raise ArchiveRefused(entry, f"looks the same as {printable(known[1])!r}")
        elif path != entry:
            raise ArchiveRefused(entry, f"lies below {path!r}, which is a {known[0]}")
        elif len(self._kinds) == self._count:
            raise ArchiveRefused(entry, f"is there already, as a {known[0]}")
        self._count = len(self._kinds)
        if self._count > self.limits.entries:
            raise ArchiveRefused(entry, f"is one more than {self.limits.entries:,} entries")


def check_ratio(written: int, packed: int, limits: ArchiveLimits) -> None:
    """Refuse what unpacks to many times its size: such an archive is made to fill a disk."""
    if written > RATIO_FREE and written > limits.ratio * packed:
        raise ArchiveRefused("", f"unpacks to more than {limits.ratio} times its size")


def _nfc(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)
