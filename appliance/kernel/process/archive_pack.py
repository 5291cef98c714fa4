"""Packs a folder into a tar.gz whose tar is the same, byte for byte, on every machine."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.kernel.process.archive_rules import MIB, ArchiveRefused
from appliance.kernel.process.archive_tree import CHECK_EVERY, check_cancelled
from appliance.kernel.process.deflate import GZIP, codec
from appliance.kernel.process.lanes import Lane
from appliance.kernel.process.unpacked import Packed

BLOCK = 512
RECORD = 20 * BLOCK  # tar files end on a multiple of it
PIECE = 1 * MIB
LEVEL = 1  # 3 % larger than gzip's usual level, and eight times as quick
OCTAL_SIZE = 8**11  # bytes; files from here on need an extended header

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")


def pack_tar_gz(
    folder: Path, target: Path, *, first: Sequence[str] = (), home: str = "", threads: int = 2
) -> Packed:
    """Pack what is in *folder* into the new file *target*, and digest it on the way.

    Names are sorted; times, owners and groups are 0; modes, links and hard links are
    kept; names have no leading ``./``. The same folder gives the same tar everywhere,
    and the same tar.gz wherever the same compressor is installed. For a worker thread:
    it blocks. When it raises, *target* is removed.

    Args:
      first: Names at the top of *folder* that come first, so that a reader finds them
        quickly; those that are missing are passed over.
      home: Where programs saw *folder* while they filled it, e.g. ``/home/vcap``:
        absolute links to there become relative ones.
      threads: 2 compresses and digests beside the reading.

    Raises:
      ArchiveRefused: a name is not UTF-8, a link leads outside, or a file changed
        while it was read: `unpack_tar` would refuse such an archive.
      OSError: something cannot be read, or there is no room.
    """
    try:
        with open(target, "xb") as file:
            sink = _Sink(file.fileno(), threads)
            try:
                writer = _Writer(folder, home.rstrip("/"))
                for piece in _gathered(writer.blocks(first)):
                    sink.write(piece)
            finally:
                sink.close()
            size = os.fstat(file.fileno()).st_size
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return Packed(
        path=target,
        size=size,
        sha1=sink.sha1.hexdigest(),
        sha256=sink.sha256.hexdigest(),
        entries=writer.entries,
        skipped=tuple(writer.skipped),
    )


class _Writer:
    """Turns a folder into the blocks of a tar."""

    def __init__(self, folder: Path, home: str) -> None:
        self._folder = os.fspath(folder)
        self._home = home
        self._names: dict[tuple[int, int], str] = {}  # of files with several names: the first
        self.entries = 0
        self.skipped: list[str] = []

    def blocks(self, first: Sequence[str]) -> Iterator[bytes]:
        present = {entry.name: entry for entry in os.scandir(self._folder)}
        ahead = [present.pop(name) for name in first if name in present]
        for entry in ahead + [present[name] for name in sorted(present)]:
            yield from self._entry(entry, entry.name)
        yield bytes(2 * BLOCK)

    def _entry(self, entry: os.DirEntry[str], name: str) -> Iterator[bytes]:
        self.entries += 1
        if self.entries % CHECK_EVERY == 0:
            check_cancelled()
        status = entry.stat(follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode) & 0o777
        if stat.S_ISDIR(status.st_mode):
            yield from self._header(name + "/", b"5", mode)
            for child in sorted(os.scandir(entry.path), key=lambda child: child.name):
                yield from self._entry(child, f"{name}/{child.name}")
        elif stat.S_ISLNK(status.st_mode):
            target = self._target(name, os.readlink(entry.path))
            yield from self._header(name, b"2", 0o777, target=target)
        elif stat.S_ISREG(status.st_mode):
            yield from self._file(entry.path, name, mode, status)
        else:
            self.entries -= 1
            self.skipped.append(name)

    def _file(self, path: str, name: str, mode: int, status: os.stat_result) -> Iterator[bytes]:
        if status.st_nlink > 1:
            first = self._names.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                yield from self._header(name, b"1", mode, target=first)
                return
        size = status.st_size
        yield from self._header(name, b"0", mode, size=size)
        yield from _contents(path, name, size)
        yield bytes(-size % BLOCK)

    def _target(self, name: str, target: str) -> str:
        """A link's target, made relative when it is below `home`."""
        depth = name.count("/")
        if self._home and (target == self._home or target.startswith(self._home + "/")):
            inside = target[len(self._home) :].strip("/")
            target = "../" * depth + inside or "."
        if target.startswith("/"):
            raise ArchiveRefused(name, f"is a link to the absolute name {target!r}")
        if _climbs(target) > depth:
            raise ArchiveRefused(name, "is a link that leads outside")
        return target

    def _header(
        self, name: str, kind: bytes, mode: int, *, size: int = 0, target: str = ""
    ) -> Iterator[bytes]:
        raw, raw_target = _encoded(name), _encoded(target, name)
        extended = {}
        split = _split(raw)
        if split is None:
            extended[b"path"] = raw
            split = b"", raw[:100]
        if len(raw_target) > 100:
            extended[b"linkpath"] = raw_target
        if size >= OCTAL_SIZE:
            extended[b"size"] = b"%d" % size
        if extended:
            records = b"".join(_record(key, extended[key]) for key in sorted(extended))
            yield _block(b"", b"PaxHeaders/" + raw[:80], b"x", 0o644, len(records), b"")
            yield records + bytes(-len(records) % BLOCK)
        yield _block(*split, kind, mode, size % OCTAL_SIZE, raw_target[:100])


def _contents(path: str, name: str, size: int) -> Iterator[bytes]:
    # Not followed: it may have become a link since it was looked at.
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        left = size
        while left:
            piece = os.read(file, min(left, PIECE))
            if not piece:
                raise ArchiveRefused(name, "became shorter while it was packed")
            left -= len(piece)
            yield piece
    finally:
        os.close(file)


def _gathered(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """*blocks* in pieces of about PIECE bytes, filled up to a whole RECORD at the end."""
    pending: list[bytes] = []
    size = total = 0
    for block in blocks:
        pending.append(block)
        size += len(block)
        if size >= PIECE:
            yield b"".join(pending)
            total += size
            pending, size = [], 0
    total += size
    yield b"".join(pending) + bytes(-total % RECORD)


def _block(prefix: bytes, name: bytes, kind: bytes, mode: int, size: int, target: bytes) -> bytes:
    block = _HEADER.pack(
        name, b"%07o" % mode, b"0000000", b"0000000", b"%011o" % size, b"00000000000",
        b"        ", kind, target, b"ustar", b"00", b"", b"", b"0000000", b"0000000", prefix,
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """*name* as prefix and name of a header; None when it is too long for them."""
    if len(name) <= 100:
        return b"", name
    # The slash between the two is not written; the name keeps a folder's final one.
    at = name.find(b"/", len(name) - 101, len(name) - 1)
    if at < 0 or at > 155:
        return None
    return name[:at], name[at + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _climbs(target: str) -> int:
    """How far above its own folder a relative target leads on its way, at most."""
    level = highest = 0
    for part in target.split("/"):
        level += {"..": 1, ".": 0, "": 0}.get(part, -1)
        highest = max(highest, level)
    return highest


def _encoded(name: str, entry: str = "") -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError:
        raise ArchiveRefused(os.fsencode(entry or name), "has a name that is not UTF-8") from None


class _Sink:
    """Compresses, digests and writes, each beside the other when there are threads for it."""

    def __init__(self, file: int, threads: int) -> None:
        self.sha1 = hashlib.sha1(usedforsecurity=False)
        self.sha256 = hashlib.sha256()
        self._file = file
        self._compressor = codec().compressobj(LEVEL, 8, GZIP)
        self._lane = Lane(self._compress) if threads > 1 else None

    def write(self, piece: bytes) -> None:
        if self._lane is None:
            self._compress(piece)
        else:
            self._lane.put(piece)

    def close(self) -> None:
        if self._lane is not None:
            self._lane.close()
        self._put(self._compressor.flush())

    def _compress(self, piece: bytes) -> None:
        self._put(self._compressor.compress(piece))

    def _put(self, packed: bytes) -> None:
        self.sha1.update(packed)
        self.sha256.update(packed)
        view = memoryview(packed)
        while view:
            view = view[os.write(self._file, view) :]
