"""What a plugin is: rules that recognise an app, and a build that says how it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from appliance.stager.tree import Tree


@dataclass(frozen=True, slots=True)
class Rule:
    """One sign by which an app is recognised: a file at its top."""

    glob: str
    because: str  # ends the sentence "It is a … app: "
    containing: str = ""  # a regular expression that the file's text must have
    unless: tuple[str, ...] = ()  # files that must be absent

    def matches(self, tree: Tree) -> bool:
        """Whether the app has this sign."""
        if any(tree.find(glob) for glob in self.unless):
            return False
        if self.containing:
            return bool(tree.containing(self.glob, self.containing))
        return bool(tree.find(self.glob))


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A command by its process type, or, with *sidecar_for*, one that runs beside those types."""

    type: str
    command: str  # a line of shell, run in app/
    sidecar_for: tuple[str, ...] = ()
    memory: int | None = None  # MB, of a sidecar


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How the built app starts."""

    web: str = ""  # a line of shell, run in app/; "" when only a Procfile can tell
    processes: tuple[Process, ...] = ()  # further ones, and sidecars
    startup: str = ""  # the same for ``startup`` when a 2012 client asked: with token and ``$@``
    env: Mapping[str, str] = field(default_factory=dict)  # expanded by the shell at start


class Build(Protocol):
    """What a plugin may do while it builds. The app is in place already, under *app*."""

    tree: Tree
    index: str  # of the buildpack's folder below deps
    framework: str  # as the request named it, e.g. "rack"; "" when detected
    has_command: bool  # whether a Procfile or the request says how the app starts

    @property
    def app(self) -> Path:
        """The app's folder on this machine."""

    @property
    def deps(self) -> Path:
        """deps/INDEX of the droplet on this machine; $DEPS_DIR/INDEX when it runs."""

    @property
    def cache(self) -> Path:
        """A folder that is kept for the app's next build."""

    @property
    def scratch(self) -> Path:
        """A folder whose files no program in the sandbox can change."""

    def note(self, text: str) -> None:
        """Tell the user something, in the staging log."""

    def runtime(self, program: str, *, package: str) -> Path:
        """The program's path. Raises `RuntimeMissing`, naming the Debian *package*."""

    def has(self, program: str) -> bool:
        """Whether *program* is there, for builds that can do without."""

    def inside(self, path: Path) -> str:
        """*path*, below `app`, `deps` or `cache`, as programs in the sandbox see it."""

    async def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        hint: str = "",
        show: Sequence[Path] = (),
    ) -> None:
        """Run a program in the sandbox, in ``app/``, without network; output goes to the log.

        *env* are defaults: what the user has set for the app wins. A `Path` in *argv* is
        turned into what the program sees; files outside of the droplet are seen only when
        they are in *show* too.

        Raises:
          BuildFailed: it ended with a status other than 0; *hint* is for the user.
        """

    async def install_python(self, requirements: str, into: Path) -> None:
        """Install *requirements* (the text of a requirements.txt) from the package cache.

        Raises:
          PackagesUnavailable: there is no cache, or it cannot provide them.
        """


class Plugin(Protocol):
    """One kind of app."""

    name: ClassVar[str]
    rules: ClassVar[tuple[Rule, ...]]  # any one of them is enough

    async def build(self, build: Build) -> Launch:
        """Make the app ready to run, in place, and say how it starts."""
