"""The far end of ``scp``: takes files (``-t``) or gives them (``-f``) on the standard streams.

Run in an instance's sandbox, which need not have scp itself. Current clients copy by SFTP, and
come here when told to (``scp -O``); so do older ones, and scripts.

The protocol: lines ``C0644 SIZE NAME`` for a file, ``D0755 0 NAME`` and ``E`` around a folder,
``T MTIME 0 ATIME 0`` before either; each is answered by a byte: 0, or 1 with a line that says why
not. Each file's bytes are followed by such a byte, too.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass

CHUNK = 64 * 1024  # bytes
LONGEST = 8 * 1024  # bytes of a line

_ENTRY = re.compile(rb"([CD])([0-7]{1,5}) (\d{1,18}) ([^/\0\n]+)")
_TIMES = re.compile(rb"T(\d{1,18}) \d+ (\d{1,18}) \d+")


class Fatal(Exception):
    """The two ends do not understand each other any more."""


@dataclass
class Options:
    """What the other end has asked for."""

    to: bool = False  # it sends, we take
    recursive: bool = False
    times: bool = False
    folder: bool = False  # the target must be a folder
    paths: tuple[str, ...] = ()


def options(argv: Sequence[str]) -> Options | None:
    """What a command line after ``scp`` asks for; None when it is not that of a far end."""
    letters, paths = "", list(argv)
    while paths and paths[0].startswith("-"):
        word = paths.pop(0)
        if word == "--":
            break
        letters += word[1:]
    if ("t" in letters) == ("f" in letters) or not set(letters) <= set("tfrpdvq") or not paths:
        return None
    return Options("t" in letters, "r" in letters, "p" in letters, "d" in letters, tuple(paths))


class End:
    """One end of the conversation; counts what went wrong but could be gone on after."""

    def __init__(self) -> None:
        self.errors = 0

    def say(self, data: bytes) -> None:
        """Send *data*, all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]

    def complain(self, why: str) -> None:
        """Tell the other end what went wrong."""
        self.errors += 1
        self.say(b"\x01scp: " + " ".join(why.split()).encode("utf-8", "replace") + b"\n")

    def line(self) -> bytes:
        """The next line; b"" when there are no more."""
        got = bytearray()
        while not got.endswith(b"\n"):
            byte = os.read(0, 1)
            if not byte or len(got) > LONGEST:
                return b""
            got += byte
        return bytes(got[:-1])

    def answered(self) -> bool:
        """Wait for the other end's byte; whether it is content."""
        byte = os.read(0, 1)
        if byte == b"\0":
            return True
        if byte != b"\x01":
            raise Fatal
        self.errors += 1
        self.line()
        return False


class Sink(End):
    """Takes files."""

    def __init__(self, wanted: Options) -> None:
        super().__init__()
        self._wanted = wanted

    def run(self) -> None:
        """Take all that is sent."""
        target = os.fsencode(self._wanted.paths[0])
        if self._wanted.folder and not os.path.isdir(target):
            self.complain(f"{self._wanted.paths[0]}: Not a directory")
            return
        self.say(b"\0")
        self._take(target)

    def _take(self, target: bytes, *, top: bool = True) -> None:
        times: tuple[int, int] | None = None
        while line := self.line():
            if line.startswith(b"E") and not top:
                self.say(b"\0")
                return
            if line[:1] in b"\x01\x02":
                self.errors += 1  # the other end could not read one of its files
                continue
            if found := _TIMES.fullmatch(line):
                times = int(found[2]), int(found[1])
                self.say(b"\0")
                continue
            entry = _ENTRY.fullmatch(line)
            if entry is None or entry[4] in (b".", b".."):
                self.complain("protocol error")
                raise Fatal
            path = os.path.join(target, entry[4]) if os.path.isdir(target) else target
            if entry[1] == b"D":
                self._take_folder(path, int(entry[2], 8))
            else:
                self._take_file(path, int(entry[2], 8), int(entry[3]), times)
            if times and self._wanted.times and os.path.exists(path):
                os.utime(path, times)
            times = None

    def _take_folder(self, path: bytes, mode: int) -> None:
        if not self._wanted.recursive:
            self.complain("a folder came without -r")
            raise Fatal
        try:
            if not os.path.isdir(path):
                os.mkdir(path, stat.S_IMODE(mode) | stat.S_IRWXU)
        except OSError as error:
            self.complain(f"{os.fsdecode(path)}: {error.strerror}")
            raise Fatal from error
        self.say(b"\0")
        self._take(path, top=False)
        if self._wanted.times:
            os.chmod(path, stat.S_IMODE(mode))

    def _take_file(self, path: bytes, mode: int, size: int, times: tuple[int, int] | None) -> None:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY, stat.S_IMODE(mode))
        except OSError as error:
            self.complain(f"{os.fsdecode(path)}: {error.strerror}")
            return
        failure = ""
        try:
            self.say(b"\0")
            while size:
                chunk = os.read(0, min(size, CHUNK))
                if not chunk:
                    raise Fatal
                size -= len(chunk)
                if not failure:
                    failure = _written(file, chunk)
            if not failure:
                os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR))
                if self._wanted.times:
                    os.fchmod(file, stat.S_IMODE(mode))
                    if times:
                        os.utime(file, times)
        finally:
            os.close(file)
        self.answered()
        if failure:
            self.complain(f"{os.fsdecode(path)}: {failure}")
        else:
            self.say(b"\0")


class Source(End):
    """Gives files."""

    def __init__(self, wanted: Options) -> None:
        super().__init__()
        self._wanted = wanted

    def run(self) -> None:
        """Give all that was asked for; patterns are those of a shell."""
        if not self.answered():
            return
        for given in self._wanted.paths:
            for path in sorted(glob.glob(os.path.expanduser(given))) or [given]:
                self._give(os.fsencode(path))

    def _give(self, path: bytes) -> None:
        try:
            found = os.stat(path)
            if stat.S_ISDIR(found.st_mode):
                if not self._wanted.recursive:
                    self.complain(f"{os.fsdecode(path)}: not a regular file")
                    return
                inner = sorted(os.listdir(path))
                if self._announce(path, found, b"D"):
                    for name in inner:
                        self._give(os.path.join(path, name))
                    self.say(b"E\n")
                    self.answered()
            elif stat.S_ISREG(found.st_mode):
                file = os.open(path, os.O_RDONLY | os.O_NOCTTY)
                try:
                    self._give_file(path, file)
                finally:
                    os.close(file)
            else:
                self.complain(f"{os.fsdecode(path)}: not a regular file")
        except OSError as error:
            self.complain(f"{os.fsdecode(path)}: {error.strerror}")

    def _give_file(self, path: bytes, file: int) -> None:
        found = os.fstat(file)
        if not self._announce(path, found, b"C"):
            return
        left, failure = found.st_size, ""
        while left:
            chunk = b"" if failure else os.read(file, min(left, CHUNK))
            if not chunk:
                # Its size has been promised already.
                failure, chunk = "it became shorter meanwhile", bytes(min(left, CHUNK))
            self.say(chunk)
            left -= len(chunk)
        if failure:
            self.complain(f"{os.fsdecode(path)}: {failure}")
        else:
            self.say(b"\0")
        self.answered()

    def _announce(self, path: bytes, found: os.stat_result, kind: bytes) -> bool:
        """Tell what comes; whether the other end wants it."""
        if self._wanted.times:
            self.say(f"T{int(found.st_mtime)} 0 {int(found.st_atime)} 0\n".encode())
            if not self.answered():
                return False
        name = os.path.basename(path.rstrip(b"/")) or b"."
        size = 0 if kind == b"D" else found.st_size
        self.say(kind + f"{stat.S_IMODE(found.st_mode):04o} {size} ".encode() + name + b"\n")
        return self.answered()


def _written(file: int, chunk: bytes) -> str:
    """Write *chunk*; why that failed, or nothing."""
    try:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main(argv: Sequence[str]) -> int:
    """Do what the words after ``scp`` say."""
    wanted = options(argv)
    if wanted is None:
        sys.stderr.write("scp: only -t and -f are understood here\n")
        return 1
    end = Sink(wanted) if wanted.to else Source(wanted)
    try:
        end.run()
    except (Fatal, BrokenPipeError):
        return 1
    return 1 if end.errors else 0
