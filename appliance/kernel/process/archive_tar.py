"""Unpacks a tar or tar.gz strictly: regular files, folders and links that stay inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.kernel.process.archive_rules import (
    MIB,
    ArchiveLimits,
    ArchiveRefused,
    Catalogue,
    Parts,
    check_ratio,
    parse_name,
    parse_target,
)
from appliance.kernel.process.archive_tree import Tree, check_cancelled
from appliance.kernel.process.deflate import GZIP, codec
from appliance.kernel.process.unpacked import Unpacked

BLOCK = 512
PIECE = 1 * MIB
EXTENSION_BYTES = 1 * MIB  # of one pax header or GNU long name; attributes may be large
PADDING_BYTES = 16 * MIB  # zeros that may follow the end

_ZEROS = bytes(BLOCK)
_REFUSED_TYPES = {
    b"3": "is a character device",
    b"4": "is a block device",
    b"6": "is a named pipe",
    b"S": "is a sparse file",
    b"M": "continues on another volume",
}


def unpack_tar(source: Path, into: Path, limits: ArchiveLimits = ArchiveLimits()) -> Unpacked:  # noqa: B008 (frozen)
    """Unpack *source*, a tar or tar.gz, into *into*, which is made when it is missing.

    Permission bits, times, relative links and hard links are kept; owners are not.
    When it raises, *into* holds a part of the archive and is best removed. For a worker
    thread: it blocks.

    Raises:
      ArchiveRefused: the archive breaks a rule, is damaged, or is no tar.
    """
    with open(source, "rb") as file, Tree(into) as tree:
        stream = _Stream(file, limits)
        catalogue = Catalogue(limits)
        entries = 0
        for member in _members(stream, limits):
            entries += 1
            _unpack(member, stream, tree, catalogue)
        stream.finish()
        catalogue.check_links()
        tree.finish()
        return Unpacked(entries=entries, bytes=tree.written)


@dataclass(slots=True)
class _Member:
    """One header, with what its extension headers say put in."""

    name: bytes
    kind: bytes  # b"0" file, b"1" hard link, b"2" link, b"5" folder
    mode: int
    size: int
    time: int  # nanoseconds since 1970
    target: bytes
    parts: Parts


def _unpack(member: _Member, stream: _Stream, tree: Tree, catalogue: Catalogue) -> None:
    parts = member.parts
    if not parts:
        if member.kind != b"5":
            raise ArchiveRefused(member.name, "is the top folder, but not as a folder")
        return
    path = "/".join(parts)
    if member.kind != b"0" and member.size:
        raise ArchiveRefused(path, "is a folder or link with a body of its own")
    if member.kind == b"0":
        catalogue.add(parts, "file", size=member.size)
        tree.add_file(parts, stream.body(member.size, path), member.mode, member.time)
    elif member.kind == b"5":
        catalogue.add(parts, "folder")
        tree.add_folder(parts, member.mode, member.time)
    elif member.kind == b"2":
        target = parse_target(path, member.target)
        catalogue.add(parts, "link", target=target)
        tree.add_link(parts, target, member.time)
    else:
        first = parse_name(member.target, catalogue.limits, leading_dot=True)
        if not catalogue.is_file(first):
            raise ArchiveRefused(path, "is a hard link to no file that came before")
        catalogue.add(parts, "file")
        tree.add_hard_link(parts, first)


def _members(stream: _Stream, limits: ArchiveLimits) -> Iterator[_Member]:
    """The members in order; the caller reads the body before it asks for the next."""
    pax: dict[bytes, bytes] | None = None
    long_name = long_target = b""
    extensions = 0
    while (header := stream.read(BLOCK, "")) != _ZEROS:
        kind, name, size = _checked(header)
        if kind in b"xgLK":
            extensions += 1
            if size > EXTENSION_BYTES or extensions > 4 + limits.entries:
                raise ArchiveRefused(name, "has an extension header that is too large")
            data = b"".join(stream.body(size, name))
            if kind == b"g":
                _check_global(data, name)
            elif kind == b"L" and not long_name:
                long_name = data.split(b"\0", 1)[0]
            elif kind == b"K" and not long_target:
                long_target = data.split(b"\0", 1)[0]
            elif kind == b"x" and pax is None:
                pax = _pax(data, name)
            else:
                raise ArchiveRefused(name, "has two extension headers of one kind")
            continue
        fields = pax or {}
        if b"size" in fields:
            size = _decimal(fields[b"size"], name)
        name = fields.get(b"path") or long_name or name
        target = fields.get(b"linkpath") or long_target or _text(header[157:257])
        yield _member(header, kind, name, size, target, fields, limits)
        pax, long_name, long_target = None, b"", b""
    if pax is not None or long_name or long_target:
        raise ArchiveRefused(long_name, "has an extension header and nothing after it")


def _member(
    header: bytes,
    kind: bytes,
    name: bytes,
    size: int,
    target: bytes,
    fields: dict[bytes, bytes],
    limits: ArchiveLimits,
) -> _Member:
    if kind in (b"\0", b"7"):
        kind = b"0"
    # Before POSIX, a folder was a file whose name ends in a slash.
    if kind == b"0" and name.endswith(b"/"):
        kind = b"5"
    if kind in _REFUSED_TYPES:
        raise ArchiveRefused(name, _REFUSED_TYPES[kind])
    if kind not in b"0125":
        raise ArchiveRefused(name, f"is of the unknown type {kind!r}")
    if any(key.startswith(b"GNU.sparse.") for key in fields):
        raise ArchiveRefused(name, "is a sparse file")
    time = _number(header[136:148], name) * 10**9
    if b"mtime" in fields:
        time = _seconds(fields[b"mtime"], name)
    return _Member(
        name=name,
        kind=kind,
        mode=_number(header[100:108], name),
        size=size,
        time=time,
        target=target,
        parts=parse_name(name, limits, leading_dot=True),
    )


def _checked(header: bytes) -> tuple[bytes, bytes, int]:
    """Type, name and size of a header whose checksum is right."""
    name = _text(header[:100])
    # GNU's own format has times where POSIX has the prefix.
    if header[257:263] == b"ustar\0" and header[345]:
        name = _text(header[345:500]) + b"/" + name
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if header[148:156].strip(b" \0").lstrip(b"0") != b"%o" % total:
        raise ArchiveRefused(name, "has a damaged header; this may be no tar at all")
    size = _number(header[124:136], name)
    if size < 0:
        raise ArchiveRefused(name, "has a negative size")
    return header[156:157], name, size


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _number(field: bytes, name: bytes) -> int:
    """An octal number, or a binary one in the way of GNU tar."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ArchiveRefused(name, "has a header with a number that is none")
    return int(digits or b"0", 8)


def _decimal(value: bytes, name: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise ArchiveRefused(name, "has an extension header with a number that is none")
    return int(value)


def _seconds(value: bytes, name: bytes) -> int:
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    seconds = _decimal(whole, name) * 10**9 + _decimal(fraction[:9].ljust(9, b"0"), name)
    return -seconds if value.startswith(b"-") else seconds


def _pax(data: bytes, name: bytes) -> dict[bytes, bytes]:
    """The ``length key=value`` records of an extended header."""
    fields: dict[bytes, bytes] = {}
    while data:
        length, space, _ = data[:21].partition(b" ")
        end = _decimal(length, name) if space else 0
        record = data[len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not equals or end > len(data) or not value.endswith(b"\n") or key in fields:
            raise ArchiveRefused(name, "has a damaged extension header")
        fields[key] = value[:-1]
        data = data[end:]
    return fields


def _check_global(data: bytes, name: bytes) -> None:
    # `git archive` notes the commit so. A name or size for all members makes no sense.
    if {b"path", b"linkpath", b"size"} & _pax(data, name).keys():
        raise ArchiveRefused(name, "has a name or size that is meant for all entries")


class _Stream:
    """The bytes of a tar, unpacked when it is a gzip file; knows when there are too many."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self._packed = 0  # bytes read from the file
        self._unpacked = 0  # bytes that came out
        self._buffer = b""
        self._at = 0
        magic = file.read(2)
        file.seek(0)
        self._next: Callable[[], bytes] = self._plain
        if magic == b"\x1f\x8b":
            pieces = self._inflate()
            self._next = lambda: next(pieces, b"")

    def read(self, size: int, entry: str | bytes) -> bytes:
        """Exactly *size* bytes."""
        end = self._at + size
        while len(self._buffer) < end:
            piece = self._next()
            if not piece:
                raise ArchiveRefused(entry, "is cut off" if entry else "is no tar, or is cut off")
            self._buffer = self._buffer[self._at :] + piece
            self._at, end = 0, size
        data = self._buffer[self._at : end]
        self._at = end
        return data

    def body(self, size: int, entry: str | bytes) -> Iterator[bytes]:
        """*size* bytes in pieces, then the padding to the next block is left out."""
        padding = -size % BLOCK
        while size > 0:
            piece = self.read(min(size, PIECE), entry)
            size -= len(piece)
            yield piece
        self.read(padding, entry)

    def finish(self) -> None:
        """Read to the end, where gzip has its checksum; only zeros may come."""
        rest = self._buffer[self._at :]
        zeros = 0
        while True:
            zeros += len(rest)
            if rest.strip(b"\0") or zeros > PADDING_BYTES:
                raise ArchiveRefused("", "has bytes after its end")
            rest = self._next()
            if not rest:
                return

    def _plain(self) -> bytes:
        return self._file.read(PIECE)

    def _inflate(self) -> Iterator[bytes]:
        library = codec()
        packed = b""
        while packed := packed or self._read_packed():  # a gzip file may have several parts
            inflater = library.decompressobj(GZIP)
            try:
                while not inflater.eof:
                    piece = inflater.decompress(packed, PIECE)
                    packed = inflater.unconsumed_tail
                    if piece:
                        self._count(len(piece))
                        yield piece
                    elif not inflater.eof and not packed:
                        packed = self._read_packed()
                        if not packed:
                            raise ArchiveRefused("", "is cut off")
            except library.error as error:
                raise ArchiveRefused("", f"is a damaged gzip file ({error})") from None
            packed = inflater.unused_data.lstrip(b"\0")

    def _read_packed(self) -> bytes:
        piece = self._file.read(PIECE // 4)
        self._packed += len(piece)
        check_cancelled()
        return piece

    def _count(self, size: int) -> None:
        self._unpacked += size
        check_ratio(self._unpacked, self._packed, self._limits)
