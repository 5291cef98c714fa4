"""One staging task: fetch → unpack → detect → build → pack → upload, a file for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from msgspec.structs import asdict

from appliance.config import StagerConfig
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.errors import from_os_error
from appliance.kernel.kit import Kit
from appliance.kernel.process.archive import Packed
from appliance.stager.build import SandboxedBuild
from appliance.stager.buildpacks.shelf import Shelf, size_text
from appliance.stager.caches import Caches
from appliance.stager.detect import candidates
from appliance.stager.errors import StagingError, StagingTimedOut, cloud_error
from appliance.stager.fetch import fetch
from appliance.stager.files import read_inside, read_tree
from appliance.stager.group import Participant, form_group
from appliance.stager.log import TaskLog
from appliance.stager.messages import (
    BuildpackUsed,
    StagedSidecar,
    StagingReply,
    StagingRequest,
)
from appliance.stager.pack import pack
from appliance.stager.plugins.plugin import Launch
from appliance.stager.plugins.registry import FRAMEWORKS
from appliance.stager.procfile import parse_procfile
from appliance.stager.startup import (
    NO_COMMAND,
    main_command,
    staging_info,
    startup_script,
    stop_script,
)
from appliance.stager.unpack import unpack
from appliance.stager.upload import upload
from appliance.stager.workspace import Workspace

FAILED = "Staging task failed:\n "  # the original's words, in front of the detail


@dataclass(kw_only=True, eq=False)
class Task:
    """One request being staged; `run` always ends in a reply."""

    id: str
    request: StagingRequest
    config: StagerConfig
    kit: Kit
    caches: Caches
    shelf: Shelf
    folder: Path  # of this task alone; removed by whoever made it
    limiter: trio.CapacityLimiter  # threads that unpack and pack
    log: TaskLog = field(init=False)
    phase: str = field(default="", init=False)
    phases: dict[str, float] = field(default_factory=dict, init=False)  # seconds
    detected: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.log = TaskLog(self.kit, self.app_id)

    @property
    def app_id(self) -> str:
        """The app's guid."""
        return str(self.request.app_id)

    async def run(self) -> StagingReply:
        """Stage the app. What goes wrong is in the reply; a bug of ours still raises."""
        self.kit.trace.event("staging.started", app=self.app_id, task=self.id)
        started = trio.current_time()
        async with trio.open_nursery() as publishing:
            publishing.start_soon(self.log.publish_lines)
            reply = await self._outcome()
            publishing.cancel_scope.cancel()
        self.kit.trace.event(
            "staging.finished",
            app=self.app_id,
            task=self.id,
            ms=_milliseconds(trio.current_time() - started),
            **({"error": reply.error_code} if reply.error_code else {"detected": self.detected}),
        )
        return reply

    async def _outcome(self) -> StagingReply:
        limit = min(self.config.max_staging_duration, self.request.timeout or math.inf)
        try:
            with trio.move_on_after(limit) as patience:
                built, droplet = await self._stage()
                self.log.info("Done!")
                return StagingReply(
                    task_id=self.id,
                    task_log=self.log.text(),
                    detected=self.detected,
                    process_types=built.process_types,
                    droplet_sha1=droplet.sha1,
                    droplet_size=droplet.size,
                    sandbox=self.kit.spawner.sandbox.kind,
                    phases=self.phases,
                    buildpacks=built.buildpacks,
                    sidecars=built.sidecars,
                    execution_metadata="",
                )
            if patience.cancelled_caught:
                raise StagingTimedOut(limit)
        except OSError as error:
            return self.failed(from_os_error(error))
        except ApplianceError as error:
            return self.failed(error)
        raise AssertionError("unreachable")  # pragma: no cover

    def failed(self, error: ApplianceError) -> StagingReply:
        """The reply that tells *error*."""
        self.log.line(str(error), error=True)
        if error.hint:
            self.log.line(error.hint, error=True)
        own = isinstance(error, StagingError)
        return StagingReply(
            task_id=self.id,
            task_log=self.log.text(),
            error=FAILED + str(error),
            error_code=error.code,
            phase=(error.phase if isinstance(error, StagingError) else "") or self.phase or None,
            hint=error.hint or None,
            exit_code=error.exit_code if own or error.exit_code >= 20 else StagingError.exit_code,
            detected=self.detected,
            sandbox=self.kit.spawner.sandbox.kind,
            phases=self.phases,
            cloud_error=cloud_error(error),
        )

    async def _stage(self) -> tuple[Built, Packed]:
        workspace = Workspace(self.folder)
        request = self.request
        self.log.info("Setting up temporary directories")
        workspace.make()
        with self._phase("fetch"):
            self.log.info("Downloading application")
            package = await fetch(
                self.kit.http,
                request.download_uri,
                workspace.scratch,
                limit=self.config.max_package,
            )
        with self._phase("unpack"):
            self.log.info("Unpacking application")
            await unpack(
                package, workspace.app, limit=self.config.max_unpacked, limiter=self.limiter
            )
        self.log.info("Staging application")
        built = await self._buildpacks(workspace)
        with self._phase("pack"):
            self.log.info("Creating droplet")
            target = workspace.scratch / "droplet.tgz"
            droplet = await pack(workspace.home, target, limiter=self.limiter)
        with self._phase("upload"):
            self.log.info("Uploading droplet, build artifacts cache...")
            self.log.info("Uploading droplet")
            await upload(self.kit.http, request.upload_uri, droplet.path)
            self.log.info(f"Uploaded droplet ({size_text(droplet.size)})")
            self.log.info("Uploading complete")
        return built, droplet

    async def _buildpacks(self, workspace: Workspace) -> Built:
        """Detect and build; the app's cache is this task's alone meanwhile."""
        tree = await trio.to_thread.run_sync(read_tree, workspace.app, limiter=self.limiter)
        async with self.caches.of(self.app_id) as cache, AsyncExitStack() as borrowed:
            build = SandboxedBuild(
                request=self.request,
                kit=self.kit,
                log=self.log,
                workspace=workspace,
                tree=tree,
                caches=cache,
                package_cache=self.config.package_cache,
                network="host" if self.config.network == "host" else "none",
                framework=str((self.request.properties.framework_info or {}).get("name") or ""),
                has_command=bool(self._commands(workspace)),
                limiter=self.limiter,
            )
            with self._phase("detect"):
                found = candidates(self.request.properties, FRAMEWORKS)
                group = await form_group(found, build, self.shelf, borrowed)
                self.detected = group.last.detected
                self.log.info(f"Detected {self.detected}: {group.because}")
            with self._phase("build"):
                self.log.info("Staging...")
                launch, used = await group.build(build)
                built = self._frame(workspace, group.last, launch, used)
                kept = await self.caches.keep_what_fits(cache)
                self.log.info("Exit status 0")
                if kept is not None:
                    self.log.info(f"Kept build artifacts cache ({size_text(kept)})")
                else:
                    most = size_text(self.caches.most)
                    self.log.info(f"The build artifacts cache has more than {most}: it is not kept")
        return built

    def _commands(self, workspace: Workspace) -> dict[str, str]:
        """What the app and the request say about starting; the request wins."""
        commands = parse_procfile(read_inside(workspace.app, "Procfile"))
        if command := self.request.properties.meta.get("command"):
            commands["web"] = str(command)
        return commands

    def _frame(
        self, workspace: Workspace, last: Participant, launch: Launch, used: list[BuildpackUsed]
    ) -> Built:
        """Write the droplet's frame around what was built."""
        types = {one.type: one.command for one in launch.processes if not one.sidecar_for}
        if launch.web:
            types["web"] = launch.web
        # Looked at again: a buildpack may have written the Procfile.
        types |= self._commands(workspace)
        sidecars = [
            StagedSidecar(
                name=one.type,
                command=one.command,
                process_types=list(one.sidecar_for),
                memory=one.memory,
            )
            for one in launch.processes
            if one.sidecar_for
        ]
        if not types.get("web"):
            last.check_start(types, self.log)
        command = main_command(types)
        # Who names a runtime speaks as in 2012, and his DEA puts its own path in.
        if command == launch.web and launch.startup and self.request.properties.runtime_info:
            command = launch.startup
        info = staging_info(last.detected, types, [asdict(one) for one in sidecars])
        workspace.write("staging_info.yml", info, 0o644)
        workspace.write("startup", startup_script(command or NO_COMMAND), 0o500)
        workspace.write("stop", stop_script(), 0o500)
        return Built(process_types=types, sidecars=sidecars, buildpacks=used)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self.phase = name
        started = trio.current_time()
        try:
            yield
        finally:
            seconds = trio.current_time() - started
            self.phases[name] = round(seconds, 4)
            self.kit.trace.event("phase.finished", phase=name, ms=_milliseconds(seconds))


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """What the buildpacks made of the app, for the reply."""

    process_types: dict[str, str]
    sidecars: list[StagedSidecar]
    buildpacks: list[BuildpackUsed]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
