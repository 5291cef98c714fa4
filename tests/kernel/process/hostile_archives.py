"""Makes archives that attack whoever unpacks them: one function a row, and the rule it breaks.

Used by `test_archive_hostile.py`; `write_all(folder)` leaves the files for other extractors.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK

HARMLESS = "(harmless)"  # the archive may be unpacked, but nothing bad may come of it


@dataclass(frozen=True)
class Row:
    """One archive: *rule* is a part of the sentence that refuses it."""

    name: str
    make: Callable[[], bytes]
    rule: str
    entry: str | None = None  # that the refusal must name; None: any

    @property
    def kind(self) -> str:
        return self.name.partition(" ")[0]


ROWS: list[Row] = []


def row(name: str, rule: str, entry: str | None = None) -> Callable[..., Callable[[], bytes]]:
    def add(make: Callable[[], bytes]) -> Callable[[], bytes]:
        ROWS.append(Row(name, make, rule, entry))
        return make

    return add


def write_all(folder: Path) -> None:
    """Every archive as a file."""
    for hostile in ROWS:
        (folder / f"{hostile.name.replace(' ', '-')}.{hostile.kind}").write_bytes(hostile.make())


# Tar.


def member(name: str = "f", data: bytes = b"", **fields: object) -> bytes:
    """One member in GNU format, whatever its fields say."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    header = info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
    return header + data + bytes(-len(data) % 512)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def link(name: str, target: str) -> bytes:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> bytes:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def folder(name: str) -> bytes:
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def pax(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    body = b""
    for key, value in records.items():
        rest = len(key) + len(value) + 3
        length = rest + len(str(rest))
        length = rest + len(str(length))
        body += b"%d %s=%s\n" % (length, key.encode(), value)
    return member("pax", body, type=kind)


def raw(header: bytes, at: int, value: bytes) -> bytes:
    """*header* with bytes replaced and its checksum made right again."""
    header = header[:at] + value + header[at + len(value) :]
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + b"%06o\0 " % total + header[156:]


row("tar parent", "'..'", "../x")(lambda: tar(member("../x", b"x")))
row("tar parent inside", "'..'")(lambda: tar(member("a/../../x", b"x")))
row("tar pax parent", "'..'", "../x")(lambda: tar(pax({"path": b"../x"}), member("ok", b"x")))
row("tar gnu long parent", "'..'")(
    lambda: tar(member("L", b"../x\0", type=b"L"), member("ok", b"x"))
)
row("tar absolute", "absolute name", "/tmp/x")(lambda: tar(member("/tmp/x", b"x")))
row("tar pax absolute", "absolute name")(lambda: tar(pax({"path": b"/x"}), member("ok", b"x")))
row("tar backslash", "backslash")(lambda: tar(member("..\\x", b"x")))
row("tar drive letter", "drive letter")(lambda: tar(member("C:x", b"x")))
row("tar link outside", "leads outside", "l")(lambda: tar(link("l", "../outside")))
row("tar link absolute", "absolute name")(lambda: tar(link("l", "/etc")))
row("tar link through which is written", "lies below", "l/x")(
    lambda: tar(link("l", "../outside"), member("l/x", b"x"))
)
row("tar link over a folder in use", "is there already")(
    lambda: tar(member("d/x", b"x"), link("d", "../outside"))
)
row("tar link chain", "leads outside")(
    lambda: tar(folder("d"), link("d/up", ".."), link("out", "d/up/../outside"))
)
row("tar link dot chain", "leads outside")(lambda: tar(link("x", "."), link("y", "x/../outside")))
row("tar link loop", "circles")(lambda: tar(link("a", "b"), link("b", "a")))
row("tar link to itself", "circles")(lambda: tar(link("a", "a/b")))
row("tar link to nothing", "link to nothing")(lambda: tar(link("a", "")))
row("tar link with newline", "control character")(lambda: tar(link("a", "b\nc")))
row("tar hard link outside", "'..'")(
    lambda: tar(hard("h", "../outside/canary"), member("h", b"overwritten"))
)
row("tar hard link absolute", "absolute name")(lambda: tar(hard("h", "/etc/passwd")))
row("tar hard link to what comes later", "no file that came before")(
    lambda: tar(hard("h", "f"), member("f", b"x"))
)
row("tar hard link to a link", "no file that came before")(
    lambda: tar(link("l", "../outside/canary"), hard("h", "l"))
)
row("tar hard link to a folder", "no file that came before")(
    lambda: tar(folder("d"), hard("h", "d"))
)
row("tar hard link and overwrite", "is there already")(
    lambda: tar(member("f", b"x"), hard("h", "f"), member("h", b"overwritten"))
)
row("tar hard link with a body", "body of its own")(
    lambda: tar(member("f", b"x"), member("h", b"body", type=tarfile.LNKTYPE, linkname="f"))
)


@row("tar links beyond PATH_MAX", "", None)
def _() -> bytes:
    """CVE-2025-4517: the real path grows beyond 4,096 bytes, where realpath() gives up."""
    component = "d" * 247
    members, at = [], ""
    for letter in "abcdefghijklmnop":
        members += [folder(at + component), link(at + letter, component)]
        at += component + "/"
    chain = "/".join("abcdefghijklmnop")
    members.append(link(chain + "/" + "l" * 254, "../" * 16))
    members.append(link("escape", chain + "/" + "l" * 254 + "/../outside"))
    members.append(member("escape/x", b"x"))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as made:
        for one in members:
            info = tarfile.TarInfo.frombuf(one[:512], "utf-8", "surrogateescape")
            made.addfile(info, io.BytesIO(one[512 : 512 + info.size]))
    return stream.getvalue()


@row("tar tangle of links", "tangle")
def _() -> bytes:
    """Each link leads through forty others of forty components; following all costs too much."""
    long = "./" * 40
    members = [folder("d")]
    for number in range(3000):
        before = f"l{number - 1}" if number % 39 else "d"
        members.append(link(f"l{number}", f"{long}{before}"))
    return tar(*members)


row("tar character device", "character device")(lambda: tar(member("d", type=tarfile.CHRTYPE)))
row("tar block device", "block device")(lambda: tar(member("d", type=tarfile.BLKTYPE)))
row("tar pipe", "named pipe")(lambda: tar(member("p", type=tarfile.FIFOTYPE)))
row("tar setuid", HARMLESS)(lambda: tar(member("s", b"#!/bin/sh", mode=0o7755)))
row("tar foreign owner", HARMLESS)(lambda: tar(member("s", b"x", uid=12345, gid=12345)))
row("tar sparse terabyte", "sparse")(lambda: tar(raw(member("s"), 156, b"S")))
row("tar pax sparse terabyte", "sparse")(
    lambda: tar(
        pax({"GNU.sparse.major": b"1", "GNU.sparse.realsize": b"1099511627776"}), member("s")
    )
)
row("tar zeros", "times its size")(lambda: gzip.compress(tar(member("z", bytes(24 << 20))), 9))
row("tar many files", "entries")(
    lambda: gzip.compress(tar(*(member(f"f{number}") for number in range(20_100))), 1)
)
row("tar many implied folders", "entries")(
    lambda: tar(*(member(f"{number}/" + "a/" * 45 + "f") for number in range(500)))
)
row("tar five terabytes declared", "bytes unpacked")(
    lambda: tar(raw(member("big"), 124, b"\x80" + (5 << 40).to_bytes(11, "big")))
)
row("tar negative size", "negative size")(lambda: tar(raw(member("n"), 124, b"\xff" * 12)))
row("tar pax size that is none", "number that is none")(
    lambda: tar(pax({"size": b"-1"}), member("n"))
)
row("tar size in letters", "number that is none")(
    lambda: tar(raw(member("n"), 124, b"0000000zzzz\0"))
)
row("tar same name twice", "is there already", "f")(
    lambda: tar(member("f", b"1"), member("f", b"2"))
)
row("tar file then folder", "is there already")(lambda: tar(member("f", b"1"), folder("f")))
row("tar file then below it", "lies below")(lambda: tar(member("f", b"1"), member("f/x", b"2")))
row("tar folder then file", "is there already")(lambda: tar(folder("f"), member("f", b"1")))
row("tar names alike in Unicode", "looks the same")(
    lambda: tar(member("caf\u00e9", b"1"), member("cafe\u0301", b"2"))
)
row("tar folders alike in Unicode", "looks the same")(
    lambda: tar(member("\u00e9/a", b"1"), member("e\u0301/b", b"2"))
)
row("tar names alike but for case", HARMLESS)(lambda: tar(member("F", b"1"), member("f", b"2")))
row("tar options as names", HARMLESS)(lambda: tar(member("-rf", b"1"), member("$(id)", b"2")))
row("tar nul in name", "control character")(lambda: tar(pax({"path": b"a\0b"}), member("x")))
row("tar newline in name", "control character")(lambda: tar(member("a\nb", b"x")))
row("tar escape sequence in name", "control character")(lambda: tar(member("a\x1b[31m", b"x")))
row("tar empty name", "empty name")(lambda: tar(raw(member("x"), 0, b"\0")))
row("tar dot in the middle", "'.'")(lambda: tar(member("a/./b", b"x")))
row("tar name that is no UTF-8", "not UTF-8", "caf\\xe9")(lambda: tar(member("caf\udce9", b"x")))
row("tar 65 folders deep", "folders deep")(lambda: tar(pax({"path": b"d/" * 65 + b"f"}), member()))
row("tar name of 3,000 folders", "bytes")(lambda: tar(pax({"path": b"d/" * 3000}), member()))
row("tar part of 256 bytes", "255 bytes")(lambda: tar(pax({"path": b"n" * 256}), member()))
row("tar top as a link", "top folder")(lambda: tar(link("./", "../outside")))
row("tar cut off in a body", "cut off")(lambda: member("f", b"x" * 5000)[:2000])
row("tar without an end", "cut off")(lambda: member("f", b"x"))
row("tar.gz cut off", "cut off")(lambda: gzip.compress(tar(member("f", b"x" * 5000)))[:-9])
row("tar.gz with a wrong checksum", "damaged gzip")(
    lambda: gzip.compress(tar(member("f", b"x")))[:-8] + bytes(8)
)
row("tar damaged header", "damaged header")(lambda: tar(b"X" + member("f", b"x")[1:]))
row("tar that is none", "damaged header")(lambda: b"This is a shopping list. " * 100)
row("tar second archive behind", "after its end")(
    lambda: tar(member("f", b"x")) + tar(member("../x", b"x"))
)
row("tar global pax name", "all entries")(
    lambda: tar(pax({"path": b"../x"}, b"g"), member("f", b"x"))
)
row("tar two pax headers", "two extension headers")(
    lambda: tar(pax({"path": b"a"}), pax({"path": b"b"}), member("f", b"x"))
)
row("tar damaged pax header", "damaged extension")(
    lambda: tar(member("p", b"99 path=../x\n", type=b"x"), member("f", b"x"))
)
row("tar pax header at the end", "nothing after it")(lambda: tar(pax({"path": b"a"})))
row("tar huge pax header", "too large")(
    lambda: tar(member("p", bytes(2 << 20), type=b"x"), member("f", b"x"))
)
row("tar second volume", "another volume")(lambda: tar(raw(member("m"), 156, b"M")))
row("tar unknown type", "unknown type")(lambda: tar(raw(member("m"), 156, b"Z")))
row("tar folder with a body", "body of its own")(
    lambda: tar(member("d", b"body", type=tarfile.DIRTYPE))
)


# Zip.


@dataclass
class Entry:
    """One zip entry; what is given overrides what would be right."""

    name: bytes
    data: bytes = b""
    mode: int = S_IFREG | 0o644
    method: int = 8
    flags: int = 0
    body: bytes | None = None
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_crc: int | None = None
    offset: int | None = None
    written: bool = True


def zipped(
    *entries: Entry,
    prefix: bytes = b"",
    suffix: bytes = b"",
    count: int | None = None,
    offset: int = 0,
    disk: int = 0,
) -> bytes:
    out = bytearray(prefix)
    central = b""
    for entry in entries:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = packer.compress(entry.data) + packer.flush()
        body = entry.body
        if body is None:
            body = deflated if entry.method == 8 else entry.data
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        packed = len(body) if entry.packed is None else entry.packed
        start = len(out) if entry.offset is None else entry.offset
        local_name = entry.name if entry.local_name is None else entry.local_name
        if entry.written:
            out += struct.pack(
                "<4s5H3L2H", b"PK\3\4", 20, entry.flags,
                entry.method if entry.local_method is None else entry.local_method, 0, 0x21,
                crc if entry.local_crc is None else entry.local_crc, packed, size,
                len(local_name), 0,
            )  # fmt: skip
            out += local_name + body
        central += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 3 << 8 | 20, 20, entry.flags, entry.method, 0, 0x21,
            crc, packed, size, len(entry.name), 0, 0, 0, 0, entry.mode << 16, start,
        )  # fmt: skip
        central += entry.name
    start = len(out) + offset
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, number, number, len(central), start, 0)
    return bytes(out) + central + end + suffix


def sym(name: bytes, target: bytes) -> Entry:
    return Entry(name, target, mode=S_IFLNK | 0o777, method=0)


def plain(name: bytes, **fields: object) -> bytes:
    return zipped(Entry(name, b"x", **fields))  # type: ignore[arg-type]


row("zip parent", "'..'", "../x")(lambda: plain(b"../x"))
row("zip parent inside", "'..'")(lambda: plain(b"a/../../x"))
row("zip absolute", "absolute name")(lambda: plain(b"/x"))
row("zip backslash parent", "backslash")(lambda: plain(b"..\\x"))
row("zip drive letter", "backslash")(lambda: plain(b"C:\\x"))
row("zip drive letter without backslash", "drive letter")(lambda: plain(b"C:x"))
row("zip link outside", "leads outside")(lambda: zipped(sym(b"l", b"../outside")))
row("zip link absolute", "absolute name")(lambda: zipped(sym(b"l", b"/etc/passwd")))
row("zip link chain", "leads outside")(
    lambda: zipped(sym(b"d/up", b".."), sym(b"out", b"d/up/../outside"))
)
row("zip link loop", "circles")(lambda: zipped(sym(b"a", b"b"), sym(b"b", b"a")))
row("zip link through which is written", "lies below")(
    lambda: zipped(sym(b"l", b"../outside"), Entry(b"l/x", b"x"))
)
row("zip link with a large target", "body of its own")(lambda: zipped(sym(b"l", b"a" * 5000)))


@row("zip overlap bomb", "shares its bytes")
def _() -> bytes:
    """Three hundred entries over one body: 300 times its size, from one copy."""
    data = bytes(10_000)
    first = Entry(b"f000", data)
    others = [Entry(b"f%03d" % number, data, offset=0, written=False) for number in range(1, 300)]
    return zipped(first, *others)


row("zip two names", "two names", "good")(lambda: zipped(Entry(b"good", b"x", local_name=b"evil")))
row("zip two methods", "two ways")(lambda: zipped(Entry(b"f", b"x", local_method=0)))
row("zip two checksums", "two checksums")(lambda: zipped(Entry(b"f", b"x", local_crc=1)))
row("zip larger than it says", "larger than")(lambda: zipped(Entry(b"f", bytes(1 << 20), size=100)))
row("zip smaller than it says", "smaller than")(lambda: zipped(Entry(b"f", b"x" * 99, size=100)))
row("zip huge size declared", "bytes unpacked")(
    lambda: zipped(*(Entry(b"f%d" % n, b"x", size=0xFFFFFFF0) for n in range(2)))
)
row("zip zeros", "times its size")(lambda: zipped(Entry(b"z", bytes(24 << 20))))
row("zip many entries", "entries")(
    lambda: zipped(*(Entry(b"%d" % number, method=0) for number in range(20_001)))
)
row("zip name that is no UTF-8", "not UTF-8", "caf\\xe9")(lambda: plain(b"caf\xe9"))
row("zip name that is no UTF-8 but says so", "not UTF-8")(lambda: plain(b"\xff", flags=1 << 11))
row("zip nul in name", "control character")(lambda: plain(b"safe\0/../../x"))
row("zip newline in name", "control character")(lambda: plain(b"a\nb"))
row("zip empty name", "empty name")(lambda: plain(b""))
row("zip dot", "'.'")(lambda: plain(b"."))
row("zip two slashes", "''")(lambda: plain(b"a//b"))
row("zip options as names", HARMLESS)(
    lambda: zipped(Entry(b"-rf", b"1"), Entry(b"$(id)", b"2"), Entry(b"`id`", b"3"))
)
row("zip same name twice", "is there already")(lambda: zipped(Entry(b"f", b"1"), Entry(b"f", b"2")))
row("zip file then below it", "lies below")(lambda: zipped(Entry(b"f", b"1"), Entry(b"f/x", b"2")))
row("zip below it then file", "is there already")(
    lambda: zipped(Entry(b"f/x", b"1"), Entry(b"f", b"2"))
)
row("zip names alike in Unicode", "looks the same")(
    lambda: zipped(Entry("caf\u00e9".encode(), b"1"), Entry("cafe\u0301".encode(), b"2"))
)
row("zip names alike but for case", HARMLESS)(
    lambda: zipped(Entry(b"README", b"1"), Entry(b"readme", b"2"))
)
row("zip 3,000 folders deep", "bytes")(lambda: plain(b"d/" * 3000 + b"f"))
row("zip 65 folders deep", "folders deep")(lambda: plain(b"d/" * 65 + b"f"))
row("zip program in front", "something in front")(
    lambda: zipped(Entry(b"f", b"x"), prefix=b"#!/bin/sh\nrm -rf /\n", offset=-19)
)
row("zip program in front, offsets right", "does not start")(
    lambda: zipped(Entry(b"f", b"x"), prefix=b"#!/bin/sh\nrm -rf /\n")
)
row("zip bytes behind", "after its end")(lambda: zipped(Entry(b"f", b"x"), suffix=b"x"))
row("zip pipe", "device, a pipe")(lambda: plain(b"p", mode=S_IFIFO | 0o644))
row("zip character device", "device, a pipe")(lambda: plain(b"p", mode=S_IFCHR | 0o644))
row("zip block device", "device, a pipe")(lambda: plain(b"p", mode=S_IFBLK | 0o644))
row("zip socket", "device, a pipe")(lambda: plain(b"p", mode=S_IFSOCK | 0o644))
row("zip setuid", HARMLESS)(lambda: plain(b"s", mode=S_IFREG | 0o7755))
row("zip folder that is a file", "body of its own")(lambda: plain(b"d/", mode=S_IFREG | 0o644))
row("zip folder that is a link", "folder by its name")(lambda: plain(b"d/", mode=S_IFLNK | 0o777))
row("zip file that is a folder", "folder by its name")(lambda: plain(b"d", mode=S_IFDIR | 0o755))
row("zip folder with a body", "body of its own")(lambda: plain(b"d/", mode=S_IFDIR | 0o755))
row("zip encrypted", "encrypted")(lambda: plain(b"f", flags=1))
row("zip bzip2", "method 12")(lambda: zipped(Entry(b"f", b"x", method=12)))
row("zip wrong checksum", "its checksum", "f")(
    lambda: zipped(Entry(b"f", b"x", crc=1, local_crc=1))
)
row("zip damaged body", "damaged")(lambda: zipped(Entry(b"f", b"x" * 50, body=b"\xff" * 40)))
row("zip bytes after the body", "after its end")(
    lambda: zipped(Entry(b"f", body=b"\3\0" + b"hidden", size=0, crc=0))
)
row("zip body cut off", "cut off")(
    lambda: zipped(Entry(b"f", b"abcdef" * 9, body=zlib.compress(b"abcdef" * 9, 9)[2:-8]))
)
row("zip cut off", "no zip")(lambda: zipped(Entry(b"f", b"x"))[:-10])
row("zip that is none", "no zip")(lambda: b"This is a shopping list. " * 100)
row("zip that is empty", "no zip")(lambda: b"")
row("zip counting too many", "more entries than")(lambda: zipped(Entry(b"f", b"x"), count=2))
row("zip counting too few", "more in its directory")(
    lambda: zipped(Entry(b"f", b"x"), Entry(b"g", b"x"), count=1)
)
row("zip directory in the wrong place", "wrong place")(lambda: zipped(Entry(b"f", b"x"), offset=1))
row("zip of several disks", "several disks")(lambda: zipped(Entry(b"f", b"x"), disk=1))
row("zip entry beyond the end", "cut off")(
    lambda: zipped(Entry(b"f", b"x", offset=1 << 30, written=False), Entry(b"g", b"x"))
)
row("zip entry inside another", "not where the directory says")(
    lambda: zipped(Entry(b"f", b"x", offset=7), Entry(b"g", b"x"))
)
row("zip64 size left out", "zip64")(lambda: zipped(Entry(b"f", b"x", size=0xFFFFFFFF)))
