"""Phase 4: lets the plugin build, with every foreign program in the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.process.sandbox import MIB, Limits, Profile
from appliance.stager.errors import BuildFailed, PackagesUnavailable, RuntimeMissing
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


@dataclass(kw_only=True)
class SandboxedBuild:
    """What a plugin may do: see `plugins.plugin.Build`, whose one implementation this is."""

    request: StagingRequest
    kit: Kit
    log: TaskLog
    workspace: Workspace
    tree: Tree
    cache: Path
    package_cache: str  # base URL, or ""
    framework: str
    has_command: bool
    limiter: trio.CapacityLimiter
    ran: bool = field(default=False, init=False)  # whether a foreign program wrote to the home

    @property
    def app(self) -> Path:
        """The app's folder on this machine."""
        return self.workspace.app

    @property
    def deps(self) -> Path:
        """The plugin's folder below deps, on this machine."""
        return self.workspace.deps

    @property
    def scratch(self) -> Path:
        """A folder that the sandbox does not show."""
        return self.workspace.scratch

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
        sandbox = self.kit.spawner.sandbox
        if not self.ran:
            self.ran = True
            await sandbox.hand_over(self.workspace.home)
        profile = self._profile(env or {}, show)
        words = [sandbox.inside(profile, word) if isinstance(word, Path) else word for word in argv]
        self.log.info("$ " + " ".join(words))
        said: list[str] = []

        def hear(text: str, is_stderr: bool) -> None:
            self.log.line(text, is_stderr)
            if text.strip():
                said[:] = [*said[-9:], text.strip()]

        command = sandbox.command(profile, words)
        # The time limit is the whole task's; see task.py.
        done = await self.kit.spawner.run(
            command.argv, env=command.env, cwd=command.cwd, timeout=float("inf"), on_line=hear
        )
        if done.returncode:
            how = f"exit status {done.returncode}"
            if done.returncode < 0:
                how = f"signal {-done.returncode}"
            last = " ".join(said)[-SAID:]
            raise BuildFailed(f"{Path(argv[0]).name}: {last or 'no output'} ({how})", hint=hint)

    async def install_python(self, requirements: str, into: Path) -> None:
        """Install from the package cache. Raises `PackagesUnavailable`."""
        if not self.package_cache:
            raise PackagesUnavailable(
                "The app requires packages, and this stager has no package cache.", hint=NO_CACHE
            )
        source = PackageSource(self.kit.http, self.package_cache, "python3", self.log)
        await source.install(requirements, into, self.scratch, self.limiter)

    def _profile(self, env: Mapping[str, str], show: Sequence[Path]) -> Profile:
        resources = self.request.properties.resources
        home = self.workspace.home
        profile = Profile(
            name="staging",
            home=home,
            limits=Limits(
                # The stack of every thread counts, used or not, and compilers have many.
                memory=(max(resources.memory, LEAST_MEMORY) + STACKS) * MIB,
                disk=max(resources.disk, LEAST_MEMORY) * MIB,
                processes=PROCESSES,
                files=resources.fds,
            ),
            read_only={
                path: f"/opt/{path.name}"
                for path in show
                if not path.is_relative_to(home) and not path.is_relative_to(self.cache)
            },
            writable={self.cache: "/cache"},
        )
        place = self.kit.spawner.sandbox.inside
        own = {
            "DEPS_DIR": place(profile, home / "deps"),
            "TMPDIR": place(profile, home / "tmp"),
            "CF_STACK": self.request.properties.stack or "",
        }
        users = parse_environment(self.request.properties.environment)
        return Profile(
            name=profile.name,
            home=home,
            limits=profile.limits,
            env={**env, **users, **own},
            read_only=profile.read_only,
            writable=profile.writable,
        )


def parse_environment(lines: Sequence[str]) -> dict[str, str]:
    """The variables of ``NAME=value`` lines; without a value it is empty.

    Raises:
      BuildFailed: one has a NUL, which no environment can hold.
    """
    variables = {}
    for line in lines:
        name, _, value = line.partition("=")
        if "\0" in line:
            raise BuildFailed(f"The environment variable {name!r} has a NUL character in it.")
        if name:
            variables[name] = value
    return variables
