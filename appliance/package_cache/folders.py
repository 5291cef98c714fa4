"""The cache's folders and their modes. Packages are readable by who knows their name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CACHE = 0o711  # readable by name, not to be listed
PACKAGE = 0o744  # of one package; as in the original
PUBLIC = 0o1733  # everybody may put files in, nobody may list or remove another's
PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Folders:
    """The tree below *root*."""

    root: Path

    @property
    def cache(self) -> Path:
        """Finished packages."""
        return self.root / "cache"

    @property
    def public(self) -> Path:
        """Where clients put files."""
        return self.root / "inbox" / "public"

    @property
    def private(self) -> Path:
        """Files that have been imported, verified."""
        return self.root / "inbox" / "private"

    @property
    def builds(self) -> Path:
        """One folder per build, removed after it."""
        return self.root / "builds"

    @property
    def tmp(self) -> Path:
        """Archives in the making; beside `cache`, so that they are renamed into it."""
        return self.root / "tmp"

    @property
    def resolutions(self) -> Path:
        """Pins by the digest of what was asked."""
        return self.root / "resolutions"

    def make(self) -> None:
        """Make what is missing and set all modes."""
        modes = {
            self.root: CACHE,
            self.cache: CACHE,
            self.root / "inbox": CACHE,
            self.public: PUBLIC,
            self.private: PRIVATE,
            self.builds: CACHE,
            self.tmp: PRIVATE,
            self.resolutions: PRIVATE,
        }
        for folder, mode in modes.items():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)  # the umask must not have a say

    def passing(self) -> tuple[Path, ...]:
        """The folders that are emptied at start and at exit."""
        return (self.public, self.private, self.builds, self.tmp)

    def packages(self) -> Iterator[os.DirEntry[str]]:
        """The files of all finished packages."""
        with os.scandir(self.cache) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
