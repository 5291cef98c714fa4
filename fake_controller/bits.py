"""The files that clients push: the resource pool, and packages made of it and an upload."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from appliance.kernel.process.archive import ArchiveLimits, unpack_zip
from appliance.kernel.store.blobs import BlobStore
from fake_controller.errors import CloudError, unprocessable

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: packages are deterministic
DEFAULT_MODE = 0o744  # of files whose zip or client names none, as Cloud Controller


class Checksum(msgspec.Struct):
    """``{"value": SHA-1}``."""

    value: str


class Resource(msgspec.Struct):
    """A file as clients describe it before they upload."""

    path: str
    checksum: Checksum
    size_in_bytes: int
    mode: str | None = None  # octal


@dataclass(frozen=True, slots=True)
class Bits:
    """Pool and packages on disk. All methods block: call them in a worker thread."""

    pool: BlobStore  # files by SHA-1
    packages: BlobStore  # zips by package guid
    buildpacks: BlobStore  # zips by SHA-256
    limit: int  # bytes, unpacked

    def keep_buildpacks(self, used: set[str | None]) -> None:
        """Remove the zips that no buildpack has: what a stop in between has left."""
        for name in list(self.buildpacks.names()):
            if name not in used:
                self.buildpacks.delete(name)

    def known(self, resources: Sequence[Resource]) -> list[Resource]:
        """Those of *resources* that need no upload: same SHA-1 **and** size."""
        return [resource for resource in resources if self._has(resource)]

    def assemble(self, guid: str, resources: Sequence[Resource], bits: Path | None) -> Assembled:
        """Make the package *guid* of pooled *resources* and the uploaded zip *bits*.

        Every uploaded file enters the pool, so the next push of it needs no upload.

        Raises:
          ArchiveRefused: the zip is not one, or has an entry that is refused.
          CloudError: a resource is not in the pool, or its path leaves the package.
        """
        folder = Path(tempfile.mkdtemp(dir=self.packages.spool))
        try:
            if bits is not None:
                unpack_zip(bits, folder, ArchiveLimits(bytes=self.limit))
                self._remember(folder)
            for resource in resources:
                self._place(resource, folder)
            made = Path(tempfile.mkstemp(dir=self.packages.spool, suffix=".zip")[1])
            _zip(folder, made)
            sha256, size = _digest(made, "sha256"), made.stat().st_size
            self.packages.commit(made, guid)
            return Assembled(size=size, sha256=sha256)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def copy_package(self, source: str, guid: str) -> None:
        """Make package *guid* of the same bytes as package *source*."""
        copy = Path(tempfile.mkdtemp(dir=self.packages.spool)) / "copy.zip"
        try:
            # Packages never change: two names for one file are as good as two files.
            os.link(self.packages.path(source), copy)
            self.packages.commit(copy, guid)
        finally:
            shutil.rmtree(copy.parent, ignore_errors=True)

    def _has(self, resource: Resource) -> bool:
        sha1 = resource.checksum.value.lower()
        if len(sha1) != 40 or not set(sha1) <= set("0123456789abcdef"):
            return False
        path = self.pool.path(sha1)
        return path.is_file() and path.stat().st_size == resource.size_in_bytes

    def _place(self, resource: Resource, folder: Path) -> None:
        path = PurePosixPath(resource.path)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in resource.path:
            raise unprocessable(f"The path {resource.path!r} points outside of the app.")
        if not self._has(resource):
            raise CloudError(
                422, 160001, "CF-AppBitsUploadInvalid",
                f"The app upload is invalid: {resource.path} is not in the resource cache; "
                "upload it.",
            )  # fmt: skip
        target = folder / path
        # A link from the zip may stand where a folder should: never write through one.
        for parent in reversed(target.relative_to(folder).parents):
            if (folder / parent).is_symlink():
                raise unprocessable(f"The path {resource.path!r} leads through a link.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(self.pool.path(resource.checksum.value.lower()), target)
        target.chmod(_mode(resource))

    def _remember(self, folder: Path) -> None:
        for top, _, names in os.walk(folder):
            for name in names:
                path = Path(top) / name
                if not stat.S_ISREG(path.lstat().st_mode):
                    continue
                sha1 = _digest(path, "sha1")
                if not self.pool.exists(sha1):
                    copy = Path(tempfile.mkstemp(dir=self.pool.spool)[1])
                    shutil.copyfile(path, copy)
                    self.pool.commit(copy, sha1)


@dataclass(frozen=True, slots=True)
class Assembled:
    """What `Bits.assemble` made."""

    size: int  # bytes
    sha256: str


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _mode(resource: Resource) -> int:
    if resource.mode is None:
        return DEFAULT_MODE
    try:
        return int(resource.mode, 8) & 0o777
    except ValueError:
        raise unprocessable(
            f"The mode {resource.mode!r} of {resource.path} is not an octal number."
        ) from None


def _zip(folder: Path, target: Path) -> None:
    """The files of *folder* as a zip, stored: it is read once, on this machine."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for top, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted([*names, *folders]):
                path = Path(top) / name
                mode = path.lstat().st_mode
                info = zipfile.ZipInfo(str(path.relative_to(folder)), EPOCH)
                info.create_system = 3  # Unix: the upper half of external_attr is the mode
                info.external_attr = (mode & 0xFFFF) << 16
                if stat.S_ISLNK(mode):
                    archive.writestr(info, os.readlink(path))
                elif stat.S_ISDIR(mode):
                    info.filename += "/"
                    archive.writestr(info, b"")
                else:
                    info.file_size = path.stat().st_size
                    with path.open("rb") as source, archive.open(info, "w") as sink:
                        shutil.copyfileobj(source, sink, 1 << 20)
