"""Unpacks a zip strictly: what two programs could read in two ways is refused."""

from __future__ import annotations

import os
import struct
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from typing import Any

from appliance.kernel.process.archive_rules import (
    MIB,
    PATH_BYTES,
    ArchiveLimits,
    ArchiveRefused,
    Catalogue,
    Parts,
    check_ratio,
    parse_name,
    parse_target,
)
from appliance.kernel.process.archive_tree import Tree
from appliance.kernel.process.deflate import RAW, codec
from appliance.kernel.process.unpacked import Unpacked

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_UNKNOWN = 0xFFFFFFFF  # the value is in the zip64 extra field
_FORBIDDEN_FLAGS = 1 | 1 << 5 | 1 << 6 | 1 << 13  # encrypted, patch, strong, masked
_STREAMED = 1 << 3  # sizes follow the body; the central directory has them too
_STORED, _DEFLATED = 0, 8
_UNIX_SYSTEMS = (3, 19)  # Unix, macOS: the upper half of the attributes is a mode
DEFAULT_MODE = 0o744  # of files from systems without modes, as Cloud Foundry gives them
DIRECTORY_BYTES = 64 * MIB  # of the central directory, at most
PIECE = 1 * MIB


@dataclass(frozen=True, slots=True)
class _Entry:
    """One record of the central directory, checked as far as it can be by itself."""

    name: bytes
    parts: Parts
    kind: int  # S_IFREG, S_IFDIR, S_IFLNK
    mode: int
    time: int  # nanoseconds since 1970
    flags: int
    method: int
    crc: int
    packed: int  # bytes
    size: int  # bytes
    offset: int  # of its local header


def unpack_zip(source: Path, into: Path, limits: ArchiveLimits = ArchiveLimits()) -> Unpacked:  # noqa: B008 (frozen)
    """Unpack *source* into *into*, which is made when it is missing.

    Permission bits, times and relative links are kept. When it raises, *into* holds a
    part of the archive and is best removed. For a worker thread: it blocks.

    Raises:
      ArchiveRefused: the archive breaks a rule, is damaged, or is no zip.
    """
    with open(source, "rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        entries, end = _directory(descriptor, size, limits)
        catalogue = Catalogue(limits)
        for entry in entries:
            kind = _KINDS[entry.kind]
            catalogue.add(entry.parts, kind, size=entry.size)
        check_ratio(catalogue.size, size, limits)
        with Tree(into) as tree:
            # In the order of the bodies: quick to read, and overlaps show themselves.
            free = 0
            for entry in sorted(entries, key=lambda entry: entry.offset):
                if entry.offset < free:
                    raise ArchiveRefused(entry.name, "shares its bytes with another entry")
                start = _body(descriptor, entry)
                free = start + entry.packed
                if free > end:
                    raise ArchiveRefused(entry.name, "does not end before the directory")
                _unpack(descriptor, start, entry, tree, catalogue)
            catalogue.check_links()
            tree.finish()
            return Unpacked(entries=len(entries), bytes=tree.written)


_KINDS: dict[int, Any] = {S_IFREG: "file", S_IFDIR: "folder", S_IFLNK: "link"}


def _unpack(descriptor: int, start: int, entry: _Entry, tree: Tree, catalogue: Catalogue) -> None:
    if entry.kind == S_IFDIR:
        tree.add_folder(entry.parts, entry.mode, entry.time)
    elif entry.kind == S_IFLNK:
        path = "/".join(entry.parts)
        target = parse_target(path, b"".join(_pieces(descriptor, start, entry)))
        catalogue.links[path] = target
        tree.add_link(entry.parts, target, entry.time)
    else:
        tree.add_file(entry.parts, _pieces(descriptor, start, entry), entry.mode, entry.time)


def _pieces(descriptor: int, start: int, entry: _Entry) -> Iterator[bytes]:
    """The entry's bytes; more or fewer than declared, or other ones, are refused."""
    library = codec()
    crc = size = 0
    bodies = _stored if entry.method == _STORED else _inflated
    for piece in bodies(descriptor, start, entry):
        size += len(piece)
        if size > entry.size:
            raise ArchiveRefused(entry.name, f"is larger than the {entry.size:,} bytes it declares")
        crc = library.crc32(piece, crc)
        yield piece
    if size != entry.size:
        raise ArchiveRefused(entry.name, f"is smaller than the {entry.size:,} bytes it declares")
    if crc != entry.crc:
        raise ArchiveRefused(entry.name, "does not match its checksum")


def _stored(descriptor: int, start: int, entry: _Entry) -> Iterator[bytes]:
    end = start + entry.packed
    while start < end:
        piece = _read(descriptor, min(PIECE, end - start), start, entry.name)
        start += len(piece)
        yield piece


def _inflated(descriptor: int, start: int, entry: _Entry) -> Iterator[bytes]:
    if not entry.packed and not entry.size:
        return  # some tools call an empty file deflated
    library = codec()
    inflater = library.decompressobj(RAW)
    # One byte more than declared is enough to know that the size is a lie.
    room = min(PIECE, entry.size + 1)
    try:
        for packed in _stored(descriptor, start, entry):
            while packed and not inflater.eof:
                yield inflater.decompress(packed, room)
                packed = inflater.unconsumed_tail
            if packed or inflater.unused_data:
                raise ArchiveRefused(entry.name, "has bytes after its end")
        while not inflater.eof:
            piece = inflater.decompress(b"", room)
            if not piece:
                break
            yield piece
    except library.error as error:
        raise ArchiveRefused(entry.name, f"is damaged ({error})") from None
    if not inflater.eof:
        raise ArchiveRefused(entry.name, "is cut off")


def _body(descriptor: int, entry: _Entry) -> int:
    """Where the body begins. The local header must say what the directory says."""
    header = _read(descriptor, _LOCAL.size + len(entry.name), entry.offset, entry.name)
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = (
        _LOCAL.unpack_from(header)
    )
    if magic != b"PK\3\4":
        raise ArchiveRefused(entry.name, "is not where the directory says")
    if name_length != len(entry.name) or header[_LOCAL.size :] != entry.name:
        raise ArchiveRefused(entry.name, "has two names")
    if method != entry.method or (flags ^ entry.flags) & (_FORBIDDEN_FLAGS | _STREAMED):
        raise ArchiveRefused(entry.name, "is described in two ways")
    for local, central in ((crc, entry.crc), (packed, entry.packed), (size, entry.size)):
        postponed = local == _UNKNOWN or (local == 0 and flags & _STREAMED)
        if local != central and not postponed:
            raise ArchiveRefused(entry.name, "has two sizes or two checksums")
    return entry.offset + len(header) + int(extra_length)


def _directory(descriptor: int, size: int, limits: ArchiveLimits) -> tuple[list[_Entry], int]:
    """The entries of the central directory, and its offset."""
    count, length, offset = _end(descriptor, size)
    # A self-extracting program in front would be read by some tools and not by others.
    if _read(descriptor, 4, 0, b"") not in (b"PK\3\4", b"PK\5\6"):
        raise ArchiveRefused("", "does not start with a zip entry")
    if count > limits.entries:
        raise ArchiveRefused("", f"has more than {limits.entries:,} entries")
    if length > DIRECTORY_BYTES:
        raise ArchiveRefused("", f"has a directory above {DIRECTORY_BYTES:,} bytes")
    directory = _read(descriptor, length, offset, b"")
    entries = []
    at = 0
    for _ in range(count):
        entry, at = _central(directory, at, limits)
        entries.append(entry)
    if at != length:
        raise ArchiveRefused("", "has more in its directory than it counts")
    return entries, offset


def _end(descriptor: int, size: int) -> tuple[int, int, int]:
    """Number of entries, length and offset of the central directory."""
    tail_length = min(size, _END.size + 0xFFFF)
    tail = _read(descriptor, tail_length, size - tail_length, b"") if tail_length else b""
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise ArchiveRefused("", "is no zip, or is cut off")
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        raise ArchiveRefused("", "has bytes after its end")
    if disk or first_disk or here != count:
        raise ArchiveRefused("", "is spread over several disks")
    end = size - len(tail) + at
    if end >= _LOCATOR64.size:
        locator = _read(descriptor, _LOCATOR64.size, end - _LOCATOR64.size, b"")
        magic, _, end64, _ = _LOCATOR64.unpack(locator)
        if magic == b"PK\6\7":
            if end64 + _END64.size + _LOCATOR64.size != end:
                raise ArchiveRefused("", "has its zip64 end in the wrong place")
            record = _END64.unpack(_read(descriptor, _END64.size, end64, b""))
            if record[0] != b"PK\6\6" or record[6] != record[7]:
                raise ArchiveRefused("", "has a damaged zip64 end")
            count, length, offset = record[7:]
            end = end64
    if offset + length != end:
        raise ArchiveRefused("", "has something in front, or its directory in the wrong place")
    return count, length, offset


def _central(directory: bytes, at: int, limits: ArchiveLimits) -> tuple[_Entry, int]:
    if len(directory) - at < _CENTRAL.size:
        raise ArchiveRefused("", "counts more entries than its directory has")
    (
        magic, made_by, _, flags, method, time, date, crc, packed, size,
        name_length, extra_length, comment_length, disk, _, attributes, offset,
    ) = _CENTRAL.unpack_from(directory, at)  # fmt: skip
    start = at + _CENTRAL.size
    name = directory[start : start + name_length]
    extra = directory[start + name_length : start + name_length + extra_length]
    following = start + name_length + extra_length + comment_length
    if magic != b"PK\1\2" or following > len(directory):
        raise ArchiveRefused(name, "has a damaged directory record")
    if flags & _FORBIDDEN_FLAGS:
        raise ArchiveRefused(name, "is encrypted")
    if method not in (_STORED, _DEFLATED):
        raise ArchiveRefused(name, f"is packed by method {method}, which is not deflate")
    if disk not in (0, 0xFFFF):
        raise ArchiveRefused(name, "is on another disk")
    fields = _extra_fields(name, extra)
    size, packed, offset = _zip64(name, fields.get(1, b""), size, packed, offset)
    if method == _STORED and size != packed:
        raise ArchiveRefused(name, "has two sizes")
    kind, mode = _kind(name, made_by >> 8, attributes)
    if kind != S_IFREG and size > (PATH_BYTES if kind == S_IFLNK else 0):
        raise ArchiveRefused(name, "is a folder or link with a body of its own")
    entry = _Entry(
        name, parse_name(name, limits), kind, mode, _time(fields, date, time),
        flags, method, crc, packed, size, offset,
    )  # fmt: skip
    return entry, following


def _kind(name: bytes, system: int, attributes: int) -> tuple[int, int]:
    mode = attributes >> 16 if system in _UNIX_SYSTEMS else 0
    expected = S_IFDIR if name.endswith(b"/") else S_IFREG
    kind = S_IFMT(mode) or expected
    if kind not in _KINDS:
        raise ArchiveRefused(name, "is a device, a pipe or a socket")
    if kind == S_IFREG and expected == S_IFDIR:
        kind = S_IFDIR  # Go's writers forget this bit, the cf CLI for one; the body must be empty
    if (kind == S_IFDIR) != (expected == S_IFDIR):
        raise ArchiveRefused(name, "is a folder by its name and none by its mode, or reversed")
    return kind, mode & 0o777 or (0o755 if kind == S_IFDIR else DEFAULT_MODE)


def _extra_fields(name: bytes, extra: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<2H", extra)
        if length > len(extra) - 4:
            raise ArchiveRefused(name, "has a damaged extra field")
        if tag in fields and tag == 1:
            raise ArchiveRefused(name, "has its zip64 sizes twice")
        fields[tag] = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return fields


def _zip64(name: bytes, extra: bytes, *values: int) -> list[int]:
    """*values*, the unknown ones among them read from the zip64 extra field."""
    known = []
    for value in values:
        if value == _UNKNOWN:
            if len(extra) < 8:
                raise ArchiveRefused(name, "lacks its zip64 sizes")
            (value,) = struct.unpack_from("<Q", extra)
            extra = extra[8:]
        known.append(value)
    return known


def _time(fields: dict[int, bytes], date: int, time: int) -> int:
    """When the file was changed, in nanoseconds since 1970."""
    stamp = fields.get(0x5455, b"")  # "extended timestamp": seconds in UTC
    if len(stamp) >= 5 and stamp[0] & 1:
        return int(struct.unpack_from("<l", stamp, 1)[0]) * 10**9
    # The older field is local time of an unknown zone; taken as UTC it is the same everywhere.
    moment = (
        1980 + (date >> 9), max(date >> 5 & 15, 1), max(date & 31, 1),
        time >> 11, time >> 5 & 63, (time & 31) * 2,
    )  # fmt: skip
    return timegm(moment) * 10**9 if moment[1] <= 12 else 0


def _read(descriptor: int, length: int, offset: int, name: bytes) -> bytes:
    data = os.pread(descriptor, length, offset) if offset < 2**63 else b""
    if len(data) != length:
        raise ArchiveRefused(name, "is cut off")
    return data
