"""Turns a droplet into an image layer: its tar, re-anchored under ``home/vcap``.

The same droplet gives the same bytes wherever the same compressor is installed, and
the same plain tar everywhere. All of it blocks: for a worker thread.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.kernel.http.sink import FileSink, Spooled
from appliance.kernel.process.archive_rules import DROPLET_LIMITS
from appliance.kernel.process.archive_tree import check_cancelled
from appliance.kernel.process.deflate import GZIP, codec
from appliance.registry.errors import NotAnImage
from appliance.registry.manifest import TAR_GZIP_TYPE, TAR_TYPE, Layer

VERSION = 1  # of the conversion; another one gives other layers for the same droplet
ANCHOR = "home/vcap"
UID = GID = 2000
LEVEL = 1
PIECE = 1024 * 1024  # bytes
MAX_INFO = 256 * 1024  # bytes of staging_info.yml and Procfile

_GZIP_MAGIC = b"\x1f\x8b"
_INFO = f"{ANCHOR}/staging_info.yml"
_PROCFILE = f"{ANCHOR}/app/Procfile"


@dataclass(frozen=True, slots=True)
class Converted:
    """A droplet's layer, in a file that the caller owns, and what its files say."""

    file: Spooled
    layer: Layer
    command: str  # its start command; "" when it has none


def convert(droplet: Path, folder: Path, *, fsync: bool) -> Converted:
    """The layer of *droplet* (a tar or tar.gz), as a new file in *folder*.

    Names lose ``./`` and stand below ``home/vcap``, targets of hard links too; of two
    entries with one path the last one counts; folders that are not in the archive are
    added; owners are 2000:2000 and permission bits are kept.

    Raises:
      NotAnImage: it is no tar, or has an entry that no layer can hold: one that leads
        outside, that hides others (``.wh.``), a device.
      OSError: the layer could not be written; nothing is left in *folder*.
    """
    try:
        plan = _survey(droplet)
        sink = FileSink(folder, length=None, fsync=fsync)
        try:
            writer = _Writer(sink)
            _copy(droplet, plan, writer)
            writer.finish()
            spooled = sink.finish()
        except BaseException:
            sink.discard()
            raise
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, codec().error) as error:
        raise NotAnImage(f"The droplet is no readable tar: {error}.") from error
    layer = Layer(f"sha256:{spooled.sha256}", spooled.size, f"sha256:{writer.plain.hexdigest()}")
    return Converted(spooled, layer, start_command(plan.info, plan.procfile))


def adopt(rootfs: Path, folder: Path, *, fsync: bool) -> tuple[Spooled, Layer]:
    """A root file system, a tar or tar.gz, as a layer: its bytes as they are.

    Raises:
      OSError: it cannot be read, or the copy cannot be written.
    """
    sink = FileSink(folder, length=rootfs.stat().st_size, fsync=fsync)
    try:
        with open(rootfs, "rb") as source:
            packed = source.read(2) == _GZIP_MAGIC
            source.seek(0)
            while piece := source.read(PIECE):
                check_cancelled()
                sink.write(piece)
        spooled = sink.finish()
    except BaseException:
        sink.discard()
        raise
    plain = hashlib.sha256()
    with _opened(rootfs) as stream:
        while piece := stream.read(PIECE):
            check_cancelled()
            plain.update(piece)
    media_type = TAR_GZIP_TYPE if packed else TAR_TYPE
    layer = Layer(
        f"sha256:{spooled.sha256}", spooled.size, f"sha256:{plain.hexdigest()}", media_type
    )
    return spooled, layer


def start_command(info: bytes, procfile: bytes) -> str:
    """The command in ``staging_info.yml``, else the web process of a ``Procfile``."""
    known = _mapping(info)
    types = known.get("process_types")
    web = types.get("web") if isinstance(types, dict) else None
    for candidate in (known.get("start_command"), web, _mapping(procfile).get("web")):
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()
    return ""


def _mapping(text: bytes) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)  # what our own stager writes
    except ValueError:
        import yaml

        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            return {}
    return value if isinstance(value, dict) else {}


@dataclass(slots=True)
class _Plan:
    """What a first reading of the droplet found."""

    last: dict[str, int]  # path: the index of the entry that counts
    folders: set[str]  # paths whose entry that counts is a folder
    info: bytes = b""
    procfile: bytes = b""


def _survey(droplet: Path) -> _Plan:
    plan = _Plan({}, set())
    links: dict[str, str] = {}  # hard links whose entry counts: their targets
    written = 0
    with _members(droplet) as members:
        for index, (member, stream) in enumerate(members):
            path = _anchored(member.name)
            if index >= DROPLET_LIMITS.entries:
                raise NotAnImage(f"The droplet has more than {DROPLET_LIMITS.entries} entries.")
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                raise NotAnImage(f"{member.name!r} is neither file, folder nor link.")
            written += member.size
            if written > DROPLET_LIMITS.bytes:
                raise NotAnImage(f"The droplet has more than {DROPLET_LIMITS.bytes} bytes.")
            if path == ANCHOR:
                continue
            plan.last[path] = index
            plan.folders.discard(path)
            links.pop(path, None)
            if member.isdir():
                plan.folders.add(path)
            elif member.islnk():
                links[path] = _anchored(member.linkname)
            if member.isreg() and member.size <= MAX_INFO and path in (_INFO, _PROCFILE):
                text = b"".join(_body(stream, member))
                if path == _INFO:
                    plan.info = text
                else:
                    plan.procfile = text
    _check_folders(plan)
    for path, target in links.items():
        if target not in plan.last or plan.last[target] >= plan.last[path]:
            raise NotAnImage(f"{path!r} is a hard link to nothing that comes before it.")
    return plan


def _check_folders(plan: _Plan) -> None:
    """Refuse what is inside of a file or link: where it would land depends on the client."""
    checked = {ANCHOR}
    for path in plan.last:
        parent = path.rpartition("/")[0]
        while parent not in checked:
            if parent in plan.last and parent not in plan.folders:
                raise NotAnImage(f"{path!r} is inside of something that is no folder.")
            checked.add(parent)
            parent = parent.rpartition("/")[0]


def _copy(droplet: Path, plan: _Plan, writer: _Writer) -> None:
    writer.folder("home", 0o755, owner=0)
    writer.folder(ANCHOR, 0o755, owner=UID)
    made = {"home", ANCHOR}
    with _members(droplet) as members:
        for index, (member, stream) in enumerate(members):
            path = _anchored(member.name)
            if plan.last.get(path) != index:
                continue
            for parent in reversed(PurePosixPath(path).parents):
                # A folder that has an entry further on gets its attributes there.
                if str(parent) not in made and str(parent) not in plan.folders and parent.name:
                    writer.folder(str(parent), 0o755, owner=UID)
                    made.add(str(parent))
            writer.entry(path, member, _body(stream, member))
            made.add(path)


def _anchored(name: str) -> str:
    """The path of entry *name* in the image.

    Raises:
      NotAnImage: it leads outside of ``home/vcap``, or means something else in a layer.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise NotAnImage(f"The entry {name!r} leads outside of the droplet.")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if any(part.startswith(".wh.") for part in parts):
        # In a layer such a name deletes another file, and none can have it itself.
        raise NotAnImage(f"The entry {name!r} cannot be in an image: .wh. marks deletions.")
    return "/".join([ANCHOR, *parts])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The plain bytes of a tar or tar.gz."""
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not packed:
            yield raw
            return
        try:
            from isal import igzip
        except ImportError:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream
        else:
            with igzip.IGzipFile(fileobj=raw) as stream:  # type: ignore[no-untyped-call]
                yield stream


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]]:
    with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:

        def each() -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
            for member in archive:
                check_cancelled()
                # tarfile remembers every member, which is memory for nothing in a stream.
                archive.members = []  # type: ignore[attr-defined]
                if member.issparse():
                    raise NotAnImage(f"{member.name!r} is a sparse file.")
                yield member, archive

        yield each()


def _body(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    if not member.isreg() or not member.size:
        return
    file = archive.extractfile(member)
    assert file is not None
    left = member.size
    while left:
        piece = file.read(min(PIECE, left))
        if not piece:
            raise EOFError("it is cut off")
        left -= len(piece)
        yield piece


class _Writer:
    """Writes a plain tar through a digest and a compressor into a sink."""

    def __init__(self, sink: FileSink) -> None:
        self._sink = sink
        # zlib and igzip write no name and no time into this header: nothing varies.
        self._compressor = codec().compressobj(LEVEL, 8, GZIP)
        self.plain = hashlib.sha256()
        self._size = 0
        self._pending: list[bytes] = []
        self._waiting = 0

    def folder(self, path: str, mode: int, *, owner: int) -> None:
        """A folder of our own."""
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
        self._write(info.tobuf(tarfile.PAX_FORMAT))

    def entry(self, path: str, member: tarfile.TarInfo, body: Iterator[bytes]) -> None:
        """*member* of the droplet at its place in the image."""
        info = tarfile.TarInfo(path)
        info.mode = member.mode & 0o777  # no setuid, setgid or sticky bit
        info.uid, info.gid = UID, GID
        info.mtime = max(int(member.mtime), 0)
        if member.isdir():
            info.type = tarfile.DIRTYPE
        elif member.issym():
            info.type, info.linkname = tarfile.SYMTYPE, member.linkname
        elif member.islnk():
            info.type, info.linkname = tarfile.LNKTYPE, _anchored(member.linkname)
        else:
            info.size = member.size
        self._write(info.tobuf(tarfile.PAX_FORMAT))
        for piece in body:
            self._write(piece)
        self._write(bytes(-info.size % tarfile.BLOCKSIZE))

    def finish(self) -> None:
        """The end of the tar, and of the gzip stream."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self._size % tarfile.RECORDSIZE))
        self._flush()
        self._sink.write(self._compressor.flush())

    def _write(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        self._waiting += len(data)
        if self._waiting >= PIECE:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending, self._waiting = [], 0
        self.plain.update(data)
        if packed := self._compressor.compress(data):
            self._sink.write(packed)
