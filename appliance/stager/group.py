"""The buildpacks that build one app: who they are, and their turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from appliance import __version__
from appliance.stager.build import SandboxedBuild
from appliance.stager.buildpacks.contract import merged
from appliance.stager.buildpacks.shelf import Shelf
from appliance.stager.detect import Candidates, names_tried, recognise
from appliance.stager.environment import SUPPLIED_PROFILE, supplied_environment
from appliance.stager.errors import NoPluginMatched, StartCommandMissing
from appliance.stager.files import names_inside, read_inside
from appliance.stager.log import TaskLog
from appliance.stager.messages import BuildpackToTry, BuildpackUsed
from appliance.stager.plugins.plugin import Launch, Plugin
from appliance.stager.plugins.registry import built_in
from appliance.stager.startup import profile_script


class Participant(Protocol):
    """One buildpack, ours or a classic one, as the task sees it."""

    @property
    def name(self) -> str:
        """As the request names it."""

    @property
    def detected(self) -> str:
        """What the app is said to be when this one has built it."""

    async def detect(self, build: SandboxedBuild) -> str | None:
        """What it says of an app that it takes, None of another one."""

    def check_supplies(self) -> None:
        """Raises `StagingError` when it cannot come before the last one."""

    async def supply(self, build: SandboxedBuild) -> Launch:
        """Have its turn as one that others come after."""

    async def finish(self, build: SandboxedBuild) -> Launch:
        """Have its turn as the last one."""

    def used(self, build: SandboxedBuild, index: str, output: str | None) -> BuildpackUsed:
        """What it says of itself afterwards; *output* is what `detect` said."""

    def check_start(self, types: Mapping[str, str], log: TaskLog) -> None:
        """Make something of it that no command for web is known; *types* are the others.

        Raises:
          StartCommandMissing: the app cannot be taken so.
        """


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A plugin of ours as a participant."""

    name: str
    plugin: Plugin

    @property
    def detected(self) -> str:
        """The plugin's name."""
        return self.plugin.name

    async def detect(self, build: SandboxedBuild) -> str | None:
        """By its rules."""
        return recognise(build.tree, self.plugin)

    def check_supplies(self) -> None:
        """Every plugin can come first."""

    async def supply(self, build: SandboxedBuild) -> Launch:
        """Build into its folder below deps; how the app starts is the last one's business."""
        known, build.has_command = build.has_command, True
        try:
            launch = await self.plugin.build(build)
        finally:
            build.has_command = known
        await build.take_back()
        if launch.env:
            folder = f"deps/{build.index}/profile.d"
            build.workspace.make_folder(folder)
            script = profile_script(launch.env)
            build.workspace.write(f"{folder}/{self.plugin.name}.sh", script, 0o644)
        return Launch()

    async def finish(self, build: SandboxedBuild) -> Launch:
        """Build with what the ones before have supplied."""
        if int(build.index):
            deps = build.workspace.deps
            before = [name for name in names_inside(deps, "") if name < build.index]
            found = {name: names_inside(deps, name) for name in before}
            values = {
                name: {
                    file: read_inside(deps, f"{name}/env/{file}")
                    for file in names_inside(deps, f"{name}/env")
                }
                for name in before
            }
            build.supplied = supplied_environment(found, values, build.inside(deps))
            build.workspace.write("profile.d/000_multi-supply.sh", SUPPLIED_PROFILE, 0o644)
        launch = await self.plugin.build(build)
        await build.take_back()
        if launch.env:
            name = f"profile.d/{build.index}_{self.plugin.name}.sh"
            build.workspace.write(name, profile_script(launch.env), 0o644)
        return launch

    def used(
        self,
        build: SandboxedBuild,  # noqa: ARG002
        index: str,  # noqa: ARG002
        output: str | None,
    ) -> BuildpackUsed:
        """It has the appliance's version, and is what it detects."""
        said = self.plugin.name if output is not None else None
        return BuildpackUsed(
            name=self.name, detect_output=said, version=__version__, buildpack_name=self.plugin.name
        )

    def check_start(self, types: Mapping[str, str], log: TaskLog) -> None:  # noqa: ARG002
        """Some command there must be, since we know of no other use for a droplet."""
        if not types:
            raise StartCommandMissing(self.plugin.name, "one")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The buildpacks that build the app, in order; the last one says how it starts."""

    participants: Sequence[Participant]
    because: str  # ends the sentence why it is them
    output: str | None = None  # what the only one's detection said; None when nobody was asked

    @property
    def last(self) -> Participant:
        """The one that decides."""
        return self.participants[-1]

    async def build(self, build: SandboxedBuild) -> tuple[Launch, list[BuildpackUsed]]:
        """Give each its turn; how the app starts, and what each says of itself."""
        digits = len(str(len(self.participants)))
        turns = [(f"{i:0{digits}d}", one) for i, one in enumerate(self.participants)]
        supplied = []
        for index, one in turns[:-1]:
            await build.turn(one.name, index)
            supplied.append((await one.supply(build)).processes)
        index, last = turns[-1]
        await build.turn(last.name, index)
        launch = await last.finish(build)
        await build.take_back()
        processes = tuple(merged([*supplied, launch.processes]))
        used = [one.used(build, index, self.output) for index, one in turns]
        return replace(launch, processes=processes), used


async def form_group(
    found: Candidates, build: SandboxedBuild, shelf: Shelf, borrowed: AsyncExitStack
) -> Group:
    """All of the candidates when they were asked for, else the first that recognises the app.

    Args:
      borrowed: Holds the classic buildpacks where they are until it is closed.

    Raises:
      NoPluginMatched: none recognises it.
      BuildpackUnavailable: one cannot be had, or cannot come before another one.
    """

    def chosen(group: Sequence[Participant], because: str, output: str | None = None) -> Group:
        for one in group:
            if isinstance(one, BuiltIn):
                # The lines that users look for; nothing is on its way, though.
                build.note(f"Downloading {one.name}...")
                build.note(f"Downloaded {one.name} (built in)")
        return Group(participants=group, because=because, output=output)

    async def open_one(wanted: BuildpackToTry, number: int) -> Participant:
        if wanted.url is None and "://" not in wanted.name:
            return BuiltIn(name=wanted.name, plugin=built_in(wanted.name))
        scratch = build.workspace.root / f"git-{number}"
        return await borrowed.enter_async_context(shelf.borrow(wanted, scratch, build.log))

    if found.because:
        group = [await open_one(wanted, i) for i, wanted in enumerate(found.buildpacks)]
        for one in group[:-1]:
            one.check_supplies()
        return chosen(group, found.because)
    for number, wanted in enumerate(found.buildpacks):
        one = await open_one(wanted, number)
        if (output := await one.detect(build)) is not None:
            return chosen([one], output or "it says so", output)
    for wanted in found.buildpacks:
        # An app that says how it starts needs nothing else.
        if wanted.name == "binary_buildpack" and build.has_command:
            binary = await open_one(wanted, 0)
            return chosen([binary], "it has a start command", "")
    raise NoPluginMatched(names_tried(found.buildpacks))
