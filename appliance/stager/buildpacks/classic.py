"""One classic buildpack: its scripts in ``bin/``, called as Cloud Foundry calls them.

Source: how Cloud Foundry's buildpackapplifecycle calls detect, supply, finalize, compile and
release, and with which arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.stager.build import SandboxedBuild, ending
from appliance.stager.buildpacks.contract import (
    merged,
    parse_config,
    parse_launch,
    parse_release,
)
from appliance.stager.errors import BuildFailed, BuildpackUnavailable, ReleaseFailed
from appliance.stager.files import read_inside
from appliance.stager.log import TaskLog
from appliance.stager.messages import BuildpackUsed
from appliance.stager.plugins.plugin import Launch, Process

NOT_MULTI = (
    "Warning: the last buildpack is not compatible with multi-buildpack apps and cannot make use "
    "of any dependencies supplied by the buildpacks specified before it"
)


@dataclass(frozen=True, kw_only=True)
class ClassicBuildpack:
    """A folder with scripts, as a participant of a build: see `group.Participant`."""

    name: str  # as the request names it
    folder: Path  # what the sandbox is shown
    top: Path  # the folder that has bin/: *folder*, or the only one in it

    @property
    def detected(self) -> str:
        """What the app is said to be when this one has built it."""
        return self.name

    async def detect(self, build: SandboxedBuild) -> str | None:
        """What ``bin/detect`` prints when it takes the app, else None."""
        if not self.has("detect"):
            return None
        script = self.top / "bin" / "detect"
        done = await build.script(script, build.app, show=[self.folder], printed=True)
        if done.returncode:
            return None
        return done.stdout.decode("utf-8", "replace").rstrip("\r\n")

    def check_supplies(self) -> None:
        """Make sure that it can come before the last one. Raises `BuildpackUnavailable`."""
        if not self.has("supply"):
            raise BuildpackUnavailable(
                self.name,
                "it has no bin/supply, so it can only be the last of several.",
                hint="Put it last, or leave the other buildpacks out.",
            )

    async def supply(self, build: SandboxedBuild) -> Launch:
        """Let it put what it has into its folder below deps, for the buildpacks after it."""
        await self._supply(build)
        return Launch(processes=tuple(await self._launch(build) or ()))

    async def finish(self, build: SandboxedBuild) -> Launch:
        """Let it build the app, and ask how that starts."""
        if self.has("finalize"):
            if self.has("supply"):
                await self._supply(build)
            profiles = build.workspace.home / "profile.d"
            await self._run(build, "finalize", build.workspace.deps, build.index, profiles)
        elif self.has("compile"):
            if int(build.index):
                build.log.line(NOT_MULTI, error=True)
            build.deps.rmdir()  # just made; such a buildpack knows nothing of it
            await self._run(build, "compile")
        else:
            raise BuildpackUnavailable(
                self.name, "it has neither bin/finalize nor bin/compile.", hint=_HINT
            )
        launch = await self._launch(build)
        if launch is None:
            launch = await self._release(build)
        return Launch(processes=tuple(merged([launch])))

    def used(self, build: SandboxedBuild, index: str, output: str | None) -> BuildpackUsed:
        """What it says of itself, after its turn."""
        own, version = parse_config(read_inside(build.workspace.deps, f"{index}/config.yml"))
        return BuildpackUsed(
            name=self.name, detect_output=output, version=version, buildpack_name=own
        )

    def check_start(self, types: Mapping[str, str], log: TaskLog) -> None:  # noqa: ARG002
        """As in Cloud Foundry, it is no error: a command may be given when it is started."""
        log.line("No start command specified by buildpack or via Procfile.", error=True)
        log.line("App will not start unless a command is provided at runtime.", error=True)

    def has(self, script: str) -> bool:
        """Whether it has ``bin/SCRIPT``."""
        return (self.top / "bin" / script).is_file()

    async def _supply(self, build: SandboxedBuild) -> None:
        await self._run(build, "supply", build.workspace.deps, build.index)

    async def _run(self, build: SandboxedBuild, script: str, *more: str | Path) -> None:
        path = self.top / "bin" / script
        done = await build.script(path, build.app, build.cache, *more, show=[self.folder])
        if done.returncode:
            raise BuildFailed(
                f"bin/{script} of the buildpack {self.name} failed ({ending(done)}).",
                hint="What it said is in the log above.",
            )

    async def _launch(self, build: SandboxedBuild) -> list[Process] | None:
        """The processes of its launch.yml; None when it has written none."""
        name = f"{build.index}/launch.yml"
        text = read_inside(build.workspace.deps, name)
        if not text:
            return None
        return await trio.to_thread.run_sync(
            parse_launch, text, f"deps/{name}", limiter=build.limiter
        )

    async def _release(self, build: SandboxedBuild) -> list[Process]:
        if not self.has("release"):
            return []
        script = self.top / "bin" / "release"
        done = await build.script(script, build.app, show=[self.folder], printed=True)
        if done.returncode:
            raise ReleaseFailed(
                f"bin/release of the buildpack {self.name} failed ({ending(done)})."
            )
        text = done.stdout.decode("utf-8", "replace")
        return await trio.to_thread.run_sync(parse_release, text, self.name, limiter=build.limiter)


_HINT = "A buildpack has bin/detect and bin/finalize or bin/compile, at its top or one folder down."


def open_buildpack(name: str, folder: Path) -> ClassicBuildpack:
    """The buildpack in *folder*: at its top, or in the one folder that an archive of a branch has.

    Raises:
      BuildpackUnavailable: there is no ``bin`` in it.
    """
    if (folder / "bin").is_dir():
        return ClassicBuildpack(name=name, folder=folder, top=folder)
    inner = [path for path in folder.iterdir() if path.name != ".git"]
    if len(inner) == 1 and not inner[0].is_symlink() and (inner[0] / "bin").is_dir():
        return ClassicBuildpack(name=name, folder=folder, top=inner[0])
    raise BuildpackUnavailable(name, "it has no folder bin.", hint=_HINT)
