"""What is pushed: the files of a folder, without what is ignored, as resources and as a zip.

Everything here blocks: it runs in a worker thread.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.commands.errors import BadApp

IGNORE_FILE = ".cfignore"

#: Never pushed, wherever they are; the same as cf's.
IGNORED = frozenset({IGNORE_FILE, ".DS_Store", ".git", ".gitignore", ".hg", ".svn", "_darcs"})
#: Not pushed when they are at the top.
IGNORED_AT_TOP = frozenset({"manifest.yml", "manifest.yaml"})

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip: the same files make the same zip
UNIX = 3  # "made by": the upper half of the external attributes is a Unix mode
PIECE = 1024 * 1024  # bytes copied at a time

Ignores = Callable[[str], bool]  # whether a path, with "/" at the end for a folder, stays here


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, link or empty folder of the app."""

    path: str  # below the app, with "/"
    mode: int  # of stat: kind and permissions
    size: int  # bytes; 0 for links and folders
    sha1: str = ""  # of files that the server may have already: those of at least one byte

    def resource(self) -> dict[str, Any]:
        """As the API asks and answers."""
        return {
            "path": self.path,
            "mode": f"{self.mode & 0o777:o}",
            "checksum": {"value": self.sha1},
            "size_in_bytes": self.size,
        }


def scan(folder: Path) -> list[Entry]:
    """Every entry of *folder* that is pushed, by path, with the digests of its files.

    Raises:
      BadApp: *folder* is none, is empty, or a file cannot be read.
    """
    if not folder.is_dir():
        raise BadApp(f"{folder} is not a folder.")
    try:
        entries = sorted(_walk(folder, "", ignores(folder)), key=lambda entry: entry.path)
        entries = [_digested(folder, entry) for entry in entries]
    except OSError as error:
        raise BadApp(f"{error.filename} cannot be read: {error.strerror}.") from error
    if not entries:
        raise BadApp(
            f"There is nothing to push in {folder.absolute()}.",
            hint=f"Name the app's folder: appliance push NAME PATH. {IGNORE_FILE} may hide it.",
        )
    return entries


def ignores(folder: Path) -> Ignores:
    """The rules of *folder*: cf's own, then those of its ``.cfignore``, which may say ``!``."""
    own = folder / IGNORE_FILE
    if not own.is_file():
        return _ignored_by_name
    # 40 ms, and most apps have no such file.
    from pathspec import GitIgnoreSpec

    lines = [*sorted(IGNORED), *(f"/{name}" for name in sorted(IGNORED_AT_TOP))]
    lines += own.read_text(encoding="utf-8", errors="replace").splitlines()
    return GitIgnoreSpec.from_lines(lines).match_file


def _ignored_by_name(path: str) -> bool:
    path = path.rstrip("/")
    return path.rpartition("/")[2] in IGNORED or path in IGNORED_AT_TOP


def _walk(folder: Path, below: str, ignored: Ignores) -> Iterator[Entry]:
    """Entries below *folder*. A link is pushed as a link, and never followed."""
    with os.scandir(folder) as found:
        for item in found:
            path = below + item.name
            mode = item.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                if not ignored(path + "/"):
                    inside = list(_walk(Path(item.path), path + "/", ignored))
                    yield from inside or [Entry(path, mode, 0)]
            elif ignored(path):
                continue
            elif stat.S_ISREG(mode):
                yield Entry(path, mode, item.stat(follow_symlinks=False).st_size)
            elif stat.S_ISLNK(mode):
                yield Entry(path, mode, 0)
            # Sockets, pipes and devices mean nothing elsewhere.


def _digested(folder: Path, entry: Entry) -> Entry:
    if not stat.S_ISREG(entry.mode) or entry.size == 0:
        return entry
    with (folder / entry.path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha1").hexdigest()
        # What was read counts, should the file be growing.
        return Entry(entry.path, entry.mode, file.tell(), digest)


def missing(entries: Sequence[Entry], known: Collection[str]) -> list[Entry]:
    """Those of *entries* that must be sent, when the server has the paths *known*."""
    return [entry for entry in entries if entry.path not in known]


def write_zip(
    folder: Path, entries: Sequence[Entry], target: Path, *, compress: bool = True
) -> None:
    """A zip of *entries*: the same bytes for the same files, with modes and links.

    Not to *compress* is ten times as fast, and right where nothing has to travel.

    Raises:
      BadApp: a file has gone since it was listed.
    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    try:
        with zipfile.ZipFile(target, "w", method, compresslevel=1) as archive:
            for entry in entries:
                _add(archive, folder, entry, method)
    except OSError as error:
        raise BadApp(f"{error.filename} cannot be read: {error.strerror}.") from error


def _add(archive: zipfile.ZipFile, folder: Path, entry: Entry, method: int) -> None:
    path = folder / entry.path
    info = zipfile.ZipInfo(entry.path, EPOCH)
    info.create_system = UNIX
    info.external_attr = (stat.S_IFMT(entry.mode) | entry.mode & 0o777) << 16
    info.compress_type = method
    if stat.S_ISLNK(entry.mode):
        archive.writestr(info, os.readlink(path))
    elif stat.S_ISDIR(entry.mode):
        info.filename += "/"
        archive.writestr(info, b"")
    else:
        info.file_size = entry.size
        with path.open("rb") as source, archive.open(info, "w") as sink:
            while piece := source.read(PIECE):
                sink.write(piece)


def is_zip(path: Path) -> bool:
    """Whether *path* is a zip (or jar, or war), which is pushed as it is."""
    return path.is_file() and zipfile.is_zipfile(path)
