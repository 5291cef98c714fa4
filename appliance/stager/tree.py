"""The app's files as detection sees them: their names, and the text of a few. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Tree:
    """The names of an app's files, relative to its top, with ``/`` between folders."""

    names: tuple[str, ...]  # sorted
    read: Callable[[str], str]  # the text of one file; the beginning of a very long one

    @staticmethod
    def of(names: Iterable[str], read: Callable[[str], str]) -> Tree:
        """A tree of *names* in any order."""
        return Tree(tuple(sorted(names)), read)

    def find(self, glob: str) -> tuple[str, ...]:
        """The files that match *glob*, sorted. ``*`` does not go into folders."""
        depth = glob.count("/")
        return tuple(
            name for name in self.names if name.count("/") == depth and fnmatchcase(name, glob)
        )

    def has(self, name: str) -> bool:
        """Whether the file *name* is there."""
        return name in self.names

    def containing(self, glob: str, pattern: str) -> tuple[str, ...]:
        """The files that match *glob* and whose text has the regular expression *pattern*."""
        expression = re.compile(pattern)
        return tuple(name for name in self.find(glob) if expression.search(self.read(name)))


def tree_of(files: dict[str, str]) -> Tree:
    """A tree of files given with their text."""
    return Tree.of(files, files.__getitem__)
