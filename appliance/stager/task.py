"""One staging task: fetch → unpack → detect → build → pack → upload, a file for each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.config import StagerConfig
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.errors import from_os_error
from appliance.kernel.kit import Kit
from appliance.kernel.process.archive import Packed
from appliance.stager.build import SandboxedBuild
from appliance.stager.caches import Caches
from appliance.stager.detect import Detection, detect
from appliance.stager.errors import StagingError, StagingTimedOut, StartCommandMissing
from appliance.stager.fetch import fetch
from appliance.stager.files import read_tree
from appliance.stager.log import TaskLog
from appliance.stager.messages import StagingReply, StagingRequest
from appliance.stager.pack import pack
from appliance.stager.plugins.plugin import Launch
from appliance.stager.plugins.registry import FRAMEWORKS, PLUGINS
from appliance.stager.procfile import parse_procfile
from appliance.stager.startup import (
    main_command,
    profile_script,
    staging_info,
    startup_script,
    stop_script,
)
from appliance.stager.tree import Tree
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
                process_types, droplet = await self._stage()
                self.log.info("Done!")
                return StagingReply(
                    task_id=self.id,
                    task_log=self.log.text(),
                    detected=self.detected,
                    process_types=process_types,
                    droplet_sha1=droplet.sha1,
                    droplet_size=droplet.size,
                    sandbox=self.kit.spawner.sandbox.kind,
                    phases=self.phases,
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
        )

    async def _stage(self) -> tuple[dict[str, str], Packed]:
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
        with self._phase("detect"):
            self.log.info("Staging application")
            tree = await trio.to_thread.run_sync(read_tree, workspace.app, limiter=self.limiter)
            commands = self._commands(tree)
            found = self._detect(tree, "".join(commands.values()))
        with self._phase("build"):
            process_types = await self._build(workspace, tree, found, commands)
        with self._phase("pack"):
            self.log.info("Creating droplet")
            target = workspace.scratch / "droplet.tgz"
            droplet = await pack(workspace.home, target, limiter=self.limiter)
        with self._phase("upload"):
            self.log.info("Uploading droplet")
            await upload(self.kit.http, request.upload_uri, droplet.path)
        return process_types, droplet

    def _commands(self, tree: Tree) -> dict[str, str]:
        """What the app and the request say about starting; the request wins."""
        commands = parse_procfile(tree.read("Procfile")) if tree.has("Procfile") else {}
        if command := self.request.properties.meta.get("command"):
            commands["web"] = str(command)
        return commands

    def _detect(self, tree: Tree, command: str) -> Detection:
        properties = self.request.properties
        found = detect(
            tree,
            plugins=PLUGINS,
            frameworks=FRAMEWORKS,
            framework=str((properties.framework_info or {}).get("name") or ""),
            buildpacks=properties.buildpacks,
            command=command,
        )
        self.detected = found.plugin.name
        self.log.info(f"Detected {found.plugin.name}: {found.because}")
        return found

    async def _build(
        self, workspace: Workspace, tree: Tree, found: Detection, commands: dict[str, str]
    ) -> dict[str, str]:
        """Let the plugin build, then write the droplet's frame around it."""
        async with self.caches.of(self.app_id) as cache:
            build = SandboxedBuild(
                request=self.request,
                kit=self.kit,
                log=self.log,
                workspace=workspace,
                tree=tree,
                cache=cache,
                package_cache=self.config.package_cache,
                framework=str((self.request.properties.framework_info or {}).get("name") or ""),
                has_command=bool(commands),
                limiter=self.limiter,
            )
            launch = await found.plugin.build(build)
            if build.ran:
                await self.kit.spawner.sandbox.reclaim(workspace.home)
        process_types = ({"web": launch.web} if launch.web else {}) | commands
        if not process_types:
            raise StartCommandMissing(found.plugin.name, "one")
        self._write_frame(workspace, found.plugin.name, launch, process_types)
        return process_types

    def _write_frame(
        self, workspace: Workspace, name: str, launch: Launch, process_types: dict[str, str]
    ) -> None:
        command = main_command(process_types)
        # Who names a runtime speaks as in 2012, and his DEA puts its own path in.
        if command == launch.web and launch.startup and self.request.properties.runtime_info:
            command = launch.startup
        if launch.env:
            workspace.write(f"profile.d/0_{name}.sh", profile_script(launch.env), 0o644)
        workspace.write("staging_info.yml", staging_info(name, process_types), 0o644)
        workspace.write("startup", startup_script(command), 0o500)
        workspace.write("stop", stop_script(), 0o500)

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


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
