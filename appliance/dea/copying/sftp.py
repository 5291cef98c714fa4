"""Serves files by SFTP, version 3, on standard input and output.

Run in an instance's sandbox: it sees what the app sees. One request is answered after the other,
in their order.

Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for the extensions and for where it
differs (the order of a symbolic link's two paths).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = 3, 4, 5, 6, 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME = 11, 12, 13, 14, 15, 16, 17, 18
READLINK, SYMLINK, EXTENDED = 19, 20, 200
STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 101, 102, 103, 104, 105, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, UNSUPPORTED = 0, 1, 2, 3, 4, 5, 8

HAS_SIZE, HAS_OWNER, HAS_MODE, HAS_TIMES, HAS_EXTENDED = 1, 2, 4, 8, 1 << 31
FOR_READING, FOR_WRITING, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 1, 2, 4, 8, 16, 32

LONGEST = 256 * 1024  # bytes of a packet, as OpenSSH's own
MOST_DATA = LONGEST - 1024  # bytes of one read or write
MOST_HANDLES = 256  # files and folders open at once
NAMES = 100  # names in one answer

EXTENSIONS = {
    b"posix-rename@openssh.com": b"1",
    b"hardlink@openssh.com": b"1",
    b"fsync@openssh.com": b"1",
    b"limits@openssh.com": b"1",
    b"expand-path@openssh.com": b"1",
}


class Refused(Exception):
    """The request cannot be done; *code* says how SFTP calls that."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass
class Packet:
    """A request's fields, taken one after the other."""

    data: bytes
    at: int = 0

    def number(self) -> int:
        """Four bytes."""
        return int(self._take(">I"))

    def long(self) -> int:
        """Eight bytes."""
        return int(self._take(">Q"))

    def text(self) -> bytes:
        """Bytes after their count."""
        length = self.number()
        if self.at + length > len(self.data):
            raise Refused(BAD_MESSAGE, "A field is longer than its packet")
        self.at += length
        return self.data[self.at - length : self.at]

    def path(self) -> bytes:
        """A file's name; an empty one is the current folder."""
        path = self.text() or b"."
        if b"\0" in path:
            raise Refused(NO_SUCH_FILE, "There is a NUL byte in the name")
        return path

    def attributes(self) -> Attributes:
        """What a file is to be like."""
        flags = self.number()
        got = Attributes()
        if flags & HAS_SIZE:
            got.size = self.long()
        if flags & HAS_OWNER:
            got.owner = self.number(), self.number()
        if flags & HAS_MODE:
            got.mode = stat.S_IMODE(self.number())
        if flags & HAS_TIMES:
            got.times = self.number(), self.number()
        if flags & HAS_EXTENDED:
            for _ in range(self.number()):
                self.text(), self.text()
        return got

    def _take(self, form: str) -> int:
        try:
            (value,) = struct.unpack_from(form, self.data, self.at)
        except struct.error:
            raise Refused(BAD_MESSAGE, "The packet is too short") from None
        self.at += struct.calcsize(form)
        return int(value)


@dataclass
class Attributes:
    """Only what is to be changed."""

    size: int | None = None
    owner: tuple[int, int] | None = None
    mode: int | None = None
    times: tuple[int, int] | None = None  # of the last access and the last change

    def apply(self, target: bytes | int) -> None:
        """Give them to a path or to an open file."""
        if self.size is not None:
            os.truncate(target, self.size)
        if self.mode is not None:
            os.chmod(target, self.mode)
        if self.times is not None:
            os.utime(target, self.times)
        if self.owner is not None:
            now = os.stat(target)
            if self.owner != (now.st_uid, now.st_gid):
                os.chown(target, *self.owner)


@dataclass
class Folder:
    """An open folder, and which of its names are still to be told."""

    path: bytes
    names: list[bytes]


@dataclass
class Server:
    """Answers requests; *send* gets whole packets."""

    send: Callable[[bytes], None]
    _open: dict[bytes, int | Folder] = field(default_factory=dict)
    _last: int = 0

    def answer(self, packet: bytes) -> None:
        """Do one request, and send its one answer."""
        kind, fields = packet[0], Packet(packet, 1)
        if kind == INIT:
            told = b"".join(text(name) + text(version) for name, version in EXTENSIONS.items())
            self.send(struct.pack(">BI", VERSION, 3) + told)
            return
        number = fields.number()
        try:
            reply = self._do(kind, fields)
        except Refused as error:
            reply = status(error.code, str(error))
        except (OSError, OverflowError, ValueError) as error:
            reply = status(code_of(error), getattr(error, "strerror", None) or str(error))
        self.send(reply[:1] + struct.pack(">I", number) + reply[1:])

    def close(self) -> None:
        """Close what was left open."""
        for entry in self._open.values():
            if isinstance(entry, int):
                os.close(entry)

    def _do(self, kind: int, fields: Packet) -> bytes:
        if kind in (OPEN, OPENDIR, CLOSE, READ, WRITE, READDIR, FSTAT, FSETSTAT):
            return self._do_with_handles(kind, fields)
        if kind == EXTENDED:
            return self._do_extended(fields.text(), fields)
        if kind in (STAT, LSTAT):
            return attributes(os.stat(fields.path(), follow_symlinks=kind == STAT))
        if kind == REALPATH:
            return names([(os.path.realpath(fields.path()), None)])
        if kind == READLINK:
            return names([(os.readlink(fields.path()), None)])
        if kind == SETSTAT:
            path = fields.path()
            fields.attributes().apply(path)
        elif kind == REMOVE:
            os.unlink(fields.path())
        elif kind == MKDIR:
            path = fields.path()
            mode = fields.attributes().mode
            os.mkdir(path, 0o777 if mode is None else mode)
        elif kind == RMDIR:
            os.rmdir(fields.path())
        elif kind == RENAME:
            old, new = fields.path(), fields.path()
            if os.path.lexists(new):
                raise Refused(FAILURE, "There is a file of that name")
            os.rename(old, new)
        elif kind == SYMLINK:
            target, link = fields.text(), fields.path()
            os.symlink(target, link)
        else:
            raise Refused(UNSUPPORTED, f"Request {kind} is not supported")
        return status(OK)

    def _do_extended(self, name: bytes, fields: Packet) -> bytes:
        if name == b"posix-rename@openssh.com":
            os.replace(fields.path(), fields.path())
        elif name == b"hardlink@openssh.com":
            os.link(fields.path(), fields.path())
        elif name == b"fsync@openssh.com":
            os.fsync(self._file(fields.text()))
        elif name == b"expand-path@openssh.com":
            return names([(os.path.realpath(os.path.expanduser(fields.path())), None)])
        elif name == b"limits@openssh.com":
            limits = (LONGEST, MOST_DATA, MOST_DATA, MOST_HANDLES)
            return struct.pack(">B4Q", EXTENDED_REPLY, *limits)
        else:
            raise Refused(UNSUPPORTED, "This extension is not supported")
        return status(OK)

    def _do_with_handles(self, kind: int, fields: Packet) -> bytes:
        if kind == OPEN:
            path, wanted, given = fields.path(), fields.number(), fields.attributes()
            mode = 0o666 if given.mode is None else given.mode
            return self._keep(os.open(path, open_flags(wanted), mode))
        if kind == OPENDIR:
            path = fields.path()
            return self._keep(Folder(path, [b".", b"..", *sorted(os.listdir(path))]))
        handle = fields.text()
        if kind == READDIR:
            return self._read_folder(handle)
        if kind == CLOSE:
            if isinstance(entry := self._open.pop(handle, None), int):
                os.close(entry)
            elif entry is None:
                raise Refused(FAILURE, "This handle is not open")
            return status(OK)
        file = self._file(handle)
        if kind == READ:
            offset, length = fields.long(), fields.number()
            data = os.pread(file, min(length, MOST_DATA), offset)
            return bytes([DATA]) + text(data) if data else status(EOF)
        if kind == WRITE:
            offset, data = fields.long(), fields.text()
            while data:
                written = os.pwrite(file, data, offset)
                offset, data = offset + written, data[written:]
        elif kind == FSTAT:
            return attributes(os.fstat(file))
        elif kind == FSETSTAT:
            fields.attributes().apply(file)
        return status(OK)

    def _keep(self, entry: int | Folder) -> bytes:
        if len(self._open) >= MOST_HANDLES:
            if isinstance(entry, int):
                os.close(entry)
            raise Refused(FAILURE, f"More than {MOST_HANDLES} files are open")
        self._last += 1
        handle = str(self._last).encode()
        self._open[handle] = entry
        return bytes([HANDLE]) + text(handle)

    def _file(self, handle: bytes) -> int:
        entry = self._open.get(handle)
        if not isinstance(entry, int):
            raise Refused(FAILURE, "This handle is not an open file")
        return entry

    def _read_folder(self, handle: bytes) -> bytes:
        folder = self._open.get(handle)
        if not isinstance(folder, Folder):
            raise Refused(FAILURE, "This handle is not an open folder")
        told: list[tuple[bytes, os.stat_result | None]] = []
        while folder.names and len(told) < NAMES:
            name = folder.names.pop(0)
            with suppress(OSError):  # it is gone meanwhile
                told.append((name, os.lstat(os.path.join(folder.path, name))))
        return names(told) if told else status(EOF)


def open_flags(wanted: int) -> int:
    """SFTP's flags as the system's."""
    flags = os.O_NOCTTY | os.O_CLOEXEC
    if wanted & FOR_READING and wanted & FOR_WRITING:
        flags |= os.O_RDWR
    elif wanted & FOR_WRITING:
        flags |= os.O_WRONLY
    pairs = ((APPEND, os.O_APPEND), (CREATE, os.O_CREAT), (TRUNCATE, os.O_TRUNC))
    for one, other in (*pairs, (EXCLUSIVE, os.O_EXCL)):
        if wanted & one:
            flags |= other
    return flags


def code_of(error: Exception) -> int:
    """How SFTP calls *error*."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return NO_SUCH_FILE
    return PERMISSION_DENIED if number in (errno.EACCES, errno.EPERM, errno.EROFS) else FAILURE


def text(data: bytes) -> bytes:
    """*data* after its length."""
    return struct.pack(">I", len(data)) + data


def status(code: int, why: str = "") -> bytes:
    """The answer that nothing but an outcome has; requests' numbers are put in later."""
    return struct.pack(">BI", STATUS, code) + text(why.encode("utf-8", "replace")) + text(b"en")


def attributes(found: os.stat_result) -> bytes:
    """The answer that tells what a file is like."""
    return bytes([ATTRS]) + packed(found)


def packed(found: os.stat_result | None) -> bytes:
    """A file's attributes; none for None."""
    if found is None:
        return struct.pack(">I", 0)
    flags = HAS_SIZE | HAS_OWNER | HAS_MODE | HAS_TIMES
    numbers = (found.st_uid, found.st_gid, found.st_mode, _seconds(found.st_atime))
    return struct.pack(">IQ5I", flags, found.st_size, *numbers, _seconds(found.st_mtime))


def names(entries: Sequence[tuple[bytes, os.stat_result | None]]) -> bytes:
    """The answer that lists names, each with a line for people."""
    told = [text(name) + text(line(name, found)) + packed(found) for name, found in entries]
    return struct.pack(">BI", NAME, len(told)) + b"".join(told)


def line(name: bytes, found: os.stat_result | None) -> bytes:
    """What ``ls -l`` would show."""
    if found is None:
        return name
    changed = datetime.fromtimestamp(_seconds(found.st_mtime)).strftime("%b %d %H:%M")
    about = f"{stat.filemode(found.st_mode)} {found.st_nlink:>4} {found.st_uid:<8}"
    return f"{about} {found.st_gid:<8} {found.st_size:>8} {changed} ".encode() + name


def _seconds(time: float) -> int:
    return min(max(int(time), 0), 0xFFFFFFFF)


def _read(count: int) -> bytes:
    """Exactly *count* bytes, or fewer at the end."""
    parts = bytearray()
    while len(parts) < count and (part := os.read(0, count - len(parts))):
        parts += part
    return bytes(parts)


def _send(packet: bytes) -> None:
    data = memoryview(text(packet))
    while data:
        data = data[os.write(1, data) :]


def main(argv: Sequence[str]) -> int:  # noqa: ARG001 (all scripts are called alike)
    """Serve until the client has had enough."""
    server = Server(_send)
    try:
        while len(head := _read(4)) == 4:
            length = int.from_bytes(head, "big")
            if not 0 < length <= LONGEST:
                return 1
            packet = _read(length)
            if len(packet) < length:
                return 1
            try:
                server.answer(packet)
            except Refused:
                return 1  # a packet without so much as a number, which cannot be answered
    except BrokenPipeError:
        return 1
    finally:
        server.close()
    return 0
