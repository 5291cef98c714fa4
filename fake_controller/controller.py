"""What the controller's parts share: records, bits, tokens, what runs, and the kit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from appliance.config import ControllerConfig
from appliance.kernel.bus import BusClosed
from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.kernel.trace import TraceLog
from appliance.logs.messages import Line, LogLines
from fake_controller.acting import Acting, access_of
from fake_controller.actual import Actual
from fake_controller.bits import Bits
from fake_controller.errors import CloudError, draining
from fake_controller.model import Buildpack, Job
from fake_controller.ssh_codes import Codes
from fake_controller.ssh_room import SshRoom
from fake_controller.store import Store, Tx
from fake_controller.tokens import Identity, Tokens
from fake_controller.unknown import Unknown

if TYPE_CHECKING:
    from fake_controller.services.operator import Operator

T = TypeVar("T")


@dataclass
class Upload:
    """A one-shot handle: the stager brings the droplet of one build here."""

    app_guid: str
    build_guid: str
    claimed: bool = False  # somebody delivers, or has
    stored: trio.Event = field(default_factory=trio.Event)
    sha1: str = ""
    sha256: str = ""
    size: int = 0  # bytes


@dataclass(kw_only=True)
class Controller:
    """One controller. Its HTTP routes and its background work act on this."""

    config: ControllerConfig
    kit: Kit
    store: Store
    bits: Bits
    tokens: Tokens
    codes: Codes  # for ssh
    passcodes: Codes  # for logins without a password
    secrets: dict[str, str]  # user or client: password, for staging, bulk and registry
    background: trio.Nursery  # what goes on for as long as there is a controller
    work: trio.Nursery  # what has an end, and is given the time to come to it: builds, jobs
    trace_log: TraceLog
    about: Callable[[], dict[str, Any]]  # the process around it, for /_appliance/info
    unknown: Unknown = field(default_factory=Unknown)
    actual: Actual = field(default_factory=Actual)
    ssh_room: SshRoom = field(default_factory=SshRoom)
    uploads: dict[str, Upload] = field(default_factory=dict)
    url: str = ""  # where it listens; known once the listener is open
    operator: Operator = field(init=False)  # has brokers do what was promised of them
    _builds: trio.Event = field(default_factory=trio.Event)

    def uploader(self, authorization: str) -> Identity:
        """Who sends bytes past the web framework, which would have asked the same.

        Raises:
          CloudError: nobody who may, or the appliance stops and begins nothing new.
        """
        identity = self.tokens.identity(authorization)
        identity.must("POST")
        if self.kit.draining.is_set():
            raise draining()
        return identity

    async def read_as(self, identity: Identity, work: Callable[[Acting], T]) -> T:
        """Run *work*, which changes nothing, on behalf of *identity*."""
        return await self.store.read(lambda tx: work(Acting(tx, access_of(tx, identity))))

    async def write_as(self, identity: Identity, work: Callable[[Acting], T]) -> T:
        """Run *work* on behalf of *identity* and commit, or roll all of it back."""
        return await self.store.write(lambda tx: work(Acting(tx, access_of(tx, identity))))

    def log(self, app_guid: str, text: str, *, source: str = "API") -> None:
        """Put a line into the app's log, as clients expect at each step."""
        line = Line(timestamp=self.kit.clock.time_ns(), text=text, source_type=source)
        try:
            self.kit.publish(
                LogLines(source=app_guid, lines=[line]), subject=f"logs.lines.{app_guid}"
            )
        except BusClosed:
            self.kit.trace.event("line.lost", app=app_guid)

    def build_changed(self) -> None:
        """Wake the clients that wait for a build or a job."""
        self._builds.set()
        self._builds = trio.Event()

    @property
    def work_changed(self) -> trio.Event:
        """Set when the next build, deployment or job changes. Take it *before* looking."""
        return self._builds

    def forget_buildpack_bits(self, sha256: str | None) -> None:
        """Remove a zip that no buildpack has any more, once no build can be fetching it."""
        if sha256 is None:
            return

        async def forget(name: str) -> None:
            await trio.sleep(self.config.staging_timeout)
            if not await self.store.find(Buildpack, sha256=name):
                await trio.to_thread.run_sync(self.bits.buildpacks.delete, name)

        self.background.start_soon(forget, sha256)

    async def start_job(
        self, operation: str, work: Callable[[], Awaitable[Sequence[str] | None]]
    ) -> Job:
        """Do *work*, which may return warnings, in the background.

        The job tells clients when, and whether, it ended. It is given a moment, since most work
        is done by the client's first look and a client that sees PROCESSING comes again only
        after three seconds.
        """
        job = await self.store.write(lambda tx: tx.new(Job, operation=operation))

        async def run() -> None:
            warnings: Sequence[str] | None = None
            problem: ApplianceError | None = None
            try:
                warnings = await work()
            except ApplianceError as error:
                problem = error
            await self.store.write(lambda tx: end_job(tx, job.guid, problem, warnings or ()))
            self.build_changed()

        await self.begin(run)
        return job

    async def begin(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work*, which raises nothing, in the background; give it a moment to end."""
        done = trio.Event()

        async def run() -> None:
            await work()
            done.set()

        self.work.start_soon(run)
        with trio.move_on_after(self.config.hold):
            await done.wait()


def end_job(
    tx: Tx, guid: str, problem: ApplianceError | None = None, warnings: Sequence[str] = ()
) -> None:
    """Let clients see that a job is COMPLETE, or FAILED by *problem*."""
    errors: tuple[dict[str, Any], ...] = ()
    if problem is not None:
        number, title = 10008, "CF-UnprocessableEntity"
        if isinstance(problem, CloudError):
            number, title = problem.number, problem.title
        errors = ({"code": number, "title": title, "detail": str(problem)},)
    state = "FAILED" if problem else "COMPLETE"
    tx.change(tx.need(Job, guid), state=state, errors=errors, warnings=tuple(warnings))
