"""Finished packages on disk: whole or absent, and never replaced."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.kernel.process.archive import pack_tar_gz
from appliance.kernel.process.sandbox import HOME
from appliance.package_cache.folders import PACKAGE, Folders
from appliance.package_cache.keys import is_key, is_local


@dataclass(frozen=True, slots=True)
class Store:
    """The packages below `Folders.cache`."""

    folders: Folders
    fsync: bool  # False for a cache that is gone at exit anyway

    def path(self, key: str) -> Path:
        """Where the package *key* is, or would be."""
        assert is_key(key), key
        return self.folders.cache / key

    def has(self, key: str) -> bool:
        """Whether *key* is there."""
        return self.path(key).is_file()

    def add(self, key: str, folder: Path) -> None:
        """Pack *folder* as the package *key*. The first one wins. Blocks."""
        temporary = self.folders.tmp / f"{folder.parent.name}.tgz"
        try:
            pack_tar_gz(folder, temporary, home=HOME)
            os.chmod(temporary, PACKAGE)
            if self.fsync:
                with open(temporary, "rb") as file:
                    os.fsync(file.fileno())
            with suppress(FileExistsError):  # what somebody may be reading stays
                os.link(temporary, self.path(key))
        finally:
            temporary.unlink(missing_ok=True)

    def listing(self) -> list[dict[str, object]]:
        """Every package of an index, with its size in bytes. Blocks.

        Files that somebody brought are left out: their digest is what lets one read them.
        """
        return [
            {"key": entry.name, "size": entry.stat().st_size}
            for entry in self.folders.packages()
            if is_key(entry.name) and not is_local(entry.name)
        ]
