"""Phase 4: what a buildpack may do, with every foreign program in the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.process.output import Completed
from appliance.kernel.process.sandbox import MIB, Limits, Profile
from appliance.stager.caches import AppCache
from appliance.stager.environment import build_environment
from appliance.stager.errors import BuildFailed, PackagesUnavailable, RuntimeMissing
from appliance.stager.files import read_tree
from appliance.stager.log import TaskLog
from appliance.stager.messages import StagingRequest
from appliance.stager.packages import NO_CACHE, PackageSource
from appliance.stager.tree import Tree
from appliance.stager.workspace import Workspace

#: Where programs are looked for: what the sandbox shows, and what apps find when they run.
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

LEAST_MEMORY = 1024  # MB; compilers need it, whatever the app itself is given
STACKS = 1024  # MB that a build may map beyond that
PROCESSES = 512  # Go's compiler and linker start many threads
SAID = 500  # characters of a failed program's last words that go into the error
PRINTED = 64 * 1024  # bytes kept of what a script prints for us, and not for the user


@dataclass(kw_only=True)
class SandboxedBuild:
    """What a plugin may do: see `plugins.plugin.Build`, whose one implementation this is.

    It is one buildpack's turn at a time, see `turn`; between turns the files are ours.
    """

    request: StagingRequest
    kit: Kit
    log: TaskLog
    workspace: Workspace
    tree: Tree
    caches: AppCache
    package_cache: str  # base URL, or ""
    network: Literal["none", "host"] = "none"
    framework: str
    has_command: bool
    limiter: trio.CapacityLimiter
    index: str = field(default="0", init=False)
    supplied: dict[str, str] = field(default_factory=dict, init=False)  # by earlier buildpacks
    _cache: Path | None = field(default=None, init=False)
    _handed: bool = field(default=False, init=False)  # the home is the sandbox's at the moment
    _spoiled: bool = field(default=False, init=False)  # foreign programs could write to it

    @property
    def app(self) -> Path:
        """The app's folder on this machine."""
        return self.workspace.app

    @property
    def deps(self) -> Path:
        """The buildpack's own folder below deps, on this machine."""
        return self.workspace.deps / self.index

    @property
    def cache(self) -> Path:
        """The buildpack's own folder that is kept for the app's next build."""
        assert self._cache is not None, "before its first turn"
        return self._cache

    @property
    def scratch(self) -> Path:
        """A folder that the sandbox does not show."""
        return self.workspace.scratch

    async def turn(self, buildpack: str, index: str) -> None:
        """From now on *buildpack* builds, in ``deps/INDEX`` and with a cache of its own."""
        await self.take_back()
        self.index = index
        self.workspace.make_folder(f"deps/{index}")
        self._cache = await self.caches.of(buildpack)

    async def take_back(self) -> None:
        """Make the files ours again; what foreign programs have changed is looked at anew."""
        if self._handed:
            await self.kit.spawner.sandbox.reclaim(self.workspace.home)
            self._handed = False
        if self._spoiled:
            self.tree = await trio.to_thread.run_sync(read_tree, self.app, limiter=self.limiter)
            self._spoiled = False

    def note(self, text: str) -> None:
        """Tell the user something, in the staging log."""
        self.log.info(text)

    def has(self, program: str) -> bool:
        """Whether the sandbox shows *program*."""
        return shutil.which(program, path=SYSTEM_PATH) is not None

    def runtime(self, program: str, *, package: str) -> Path:
        """The path of *program* for apps. Raises `RuntimeMissing`."""
        found = shutil.which(program, path=SYSTEM_PATH)
        if found is None:
            raise RuntimeMissing(program, package, elsewhere=shutil.which(program) or "")
        return Path(found)

    def inside(self, path: Path) -> str:
        """*path* as programs in the sandbox see it."""
        return self.kit.spawner.sandbox.inside(self._profile({}, [path]), path)

    async def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        hint: str = "",
        show: Sequence[Path] = (),
    ) -> None:
        """Run a program in ``app/``, its output going to the log. Raises `BuildFailed`."""
        said: list[str] = []

        def hear(text: str, is_stderr: bool) -> None:
            self.log.line(text, is_stderr)
            if text.strip():
                said[:] = [*said[-9:], text.strip()]

        profile = self._profile(self.supplied | dict(env or {}), show)
        self.log.info("$ " + " ".join(self._words(profile, argv)))
        done = await self._execute(profile, argv, hear)
        if done.returncode:
            last = " ".join(said)[-SAID:]
            name = Path(argv[0]).name
            raise BuildFailed(f"{name}: {last or 'no output'} ({ending(done)})", hint=hint)

    async def script(
        self, *argv: str | Path, show: Sequence[Path], printed: bool = False
    ) -> Completed:
        """Run a buildpack's script in ``app/``; what it says goes to the log.

        With *printed*, what it writes to its standard output is for us alone.
        """

        def hear(text: str, is_stderr: bool) -> None:
            if is_stderr or not printed:
                self.log.line(text, is_stderr)

        return await self._execute(self._profile({}, show), argv, hear)

    async def install_python(self, requirements: str, into: Path) -> None:
        """Install from the package cache. Raises `PackagesUnavailable`."""
        if not self.package_cache:
            raise PackagesUnavailable(
                "The app requires packages, and this stager has no package cache.", hint=NO_CACHE
            )
        source = PackageSource(self.kit.http, self.package_cache, "python3", self.log)
        await source.install(requirements, into, self.scratch, self.limiter)

    async def _execute(
        self, profile: Profile, argv: Sequence[str | Path], hear: Callable[[str, bool], None]
    ) -> Completed:
        sandbox = self.kit.spawner.sandbox
        if not self._handed:
            self._handed = self._spoiled = True
            await sandbox.hand_over(self.workspace.home)
        command = sandbox.command(profile, self._words(profile, argv))
        # The time limit is the whole task's; see task.py.
        return await self.kit.spawner.run(
            command.argv,
            env=command.env,
            cwd=command.cwd,
            timeout=float("inf"),
            limit=PRINTED,
            on_line=hear,
        )

    def _words(self, profile: Profile, argv: Sequence[str | Path]) -> list[str]:
        inside = self.kit.spawner.sandbox.inside
        return [inside(profile, word) if isinstance(word, Path) else word for word in argv]

    def _profile(self, env: Mapping[str, str], show: Sequence[Path]) -> Profile:
        resources = self.request.properties.resources
        home = self.workspace.home
        memory = max(resources.memory, LEAST_MEMORY)
        profile = Profile(
            name="staging",
            home=home,
            limits=Limits(
                # The stack of every thread counts, used or not, and compilers have many.
                memory=(memory + STACKS) * MIB,
                total=memory * MIB,
                disk=max(resources.disk, LEAST_MEMORY) * MIB,
                processes=PROCESSES,
                files=resources.fds,
            ),
            read_only={
                path: f"/opt/{path.name}"
                for path in show
                if not path.is_relative_to(home)
                and not (self._cache and path.is_relative_to(self._cache))
            },
            writable={self._cache: "/cache"} if self._cache else {},
            network=self.network,
        )
        place = self.kit.spawner.sandbox.inside
        own = {
            "DEPS_DIR": place(profile, home / "deps"),
            "TMPDIR": place(profile, home / "tmp"),
        }
        return replace(profile, env={**env, **build_environment(self.request), **own})


def ending(done: Completed) -> str:
    """How a program that failed has ended."""
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    return f"exit status {done.returncode}"
