"""One instance's life: fetched, unpacked, started, ready, running, over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import trio

from appliance.config import DeaConfig
from appliance.dea.droplets import DropletCache
from appliance.dea.ending import Ending, describe, over_memory, shell_status
from appliance.dea.environment import environment, memory_for_one_process, possible
from appliance.dea.errors import StartFailed
from appliance.dea.instance import ISOLATED_PORT, MIB, Instance
from appliance.dea.launch import launch
from appliance.dea.output import Journal, LogFile, pump
from appliance.dea.readiness import Place, check_for, wait_until_ready
from appliance.dea.stopping import ask_to_end
from appliance.dea.unpacking import unpack
from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.kernel.process.dialer import open_dialer, relay
from appliance.kernel.process.profile import HOME, Command, Limits, Profile
from appliance.kernel.process.spawner import Child

LAST_WORDS = 0.5  # seconds that output may still come when the program itself has ended
PROCESSES = 512  # processes and threads that one instance may have, as in 2012


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the lives of one DEA have in common."""

    kit: Kit
    config: DeaConfig
    droplets: DropletCache
    journal: Journal
    unpacking: trio.CapacityLimiter  # threads that unpack at the same time


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What it takes to run one more program where an instance runs."""

    host: Child  # the instance's first program, in its sandbox
    profile: Profile


class Watcher(Protocol):
    """Who is told how a life goes on."""

    def running(self, instance: Instance) -> None:
        """It is ready."""

    def ending(self, instance: Instance) -> None:
        """It was asked to stop, and will be gone soon."""

    async def ended(self, instance: Instance, ending: Ending) -> None:
        """It is gone; nothing of it runs any more."""


@dataclass(eq=False)
class Life:
    """Runs one instance. `run` always ends with `Watcher.ended`, unless it is cancelled."""

    instance: Instance
    shared: Shared
    watcher: Watcher
    over: trio.Event = field(default_factory=trio.Event)
    inside: Inside | None = None  # while its program runs
    _stop: trio.Event = field(default_factory=trio.Event)
    _reason: str = "STOPPED"
    _verdict: str = ""  # why it has to be killed
    _condemned: trio.Event = field(default_factory=trio.Event)
    _preparing: trio.CancelScope = field(default_factory=trio.CancelScope)
    _profile: Profile | None = None
    _phases: dict[str, float] = field(default_factory=dict)  # milliseconds
    _phase_began: float = 0.0

    def stop(self, reason: str = "STOPPED") -> None:
        """Ask it to end; *reason* is what ``droplet.exited`` will say. Asking twice is fine."""
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()
            self._preparing.cancel()

    def condemn(self, verdict: str) -> None:
        """Kill it at once as crashed, because of *verdict*."""
        self._verdict = self._verdict or verdict
        self._condemned.set()

    async def run(self) -> None:
        """The whole life, from the order to the last message."""
        try:
            ending = await self._live()
            await self.watcher.ended(self.instance, ending)
        finally:
            self.over.set()

    async def _live(self) -> Ending:
        instance, journal = self.instance, self.shared.journal
        self._phase_began = trio.current_time()
        journal.note(instance, f"{journal.cell} creating container for instance {instance.id}")
        command: Command | None = None
        try:
            with self._preparing:
                command = await self._prepare()
            if command is None:
                return Ending(reason=self._reason)
            with (
                LogFile(instance.folder, "stdout.log") as out,
                LogFile(instance.folder, "stderr.log") as err,
            ):
                return await self._run(command, out, err)
        except StartFailed as error:
            return Ending(reason="CRASHED", description=str(error))
        except ApplianceError as error:
            said = str(error).removesuffix(".")
            return Ending(reason="CRASHED", description=f"Droplet could not be started: {said}")

    async def _prepare(self) -> Command:
        """Everything before the first program: the folder, and the command to run in it."""
        instance, shared = self.instance, self.shared
        order, sandbox = instance.order, shared.kit.spawner.sandbox
        async with shared.droplets.droplet(order) as droplet:
            self._done("fetch")
            contents = await trio.to_thread.run_sync(
                unpack, droplet, instance.folder, order, limiter=shared.unpacking
            )
        plan = launch(contents, order, instance.listens[1])
        for name in ("stdout.log", "stderr.log"):
            # Made now, so that they are handed over with the rest.
            with LogFile(instance.folder, name):
                pass
        await sandbox.hand_over(instance.folder)
        self._done("unpack")
        profile = Profile(
            name=order.name,
            home=instance.folder,
            cwd=HOME,
            network="none" if instance.isolated else "host",
            limits=Limits(
                memory=memory_for_one_process(order),
                total=order.limits.mem * MIB,
                disk=order.limits.disk * MIB,
                processes=PROCESSES,
                files=order.limits.fds,
            ),
        )
        home = sandbox.inside(profile, instance.folder)
        env = environment(instance, home) | possible(plan.env)
        self._profile = profile
        return sandbox.command(replace(profile, env=env), plan.argv)

    async def _run(self, command: Command, out: LogFile, err: LogFile) -> Ending:
        """Start the program and stay with it to its end."""
        instance, journal = self.instance, self.shared.journal
        child = await self.shared.kit.spawner.spawn(command.argv, env=command.env, cwd=command.cwd)
        assert child.stdout is not None
        assert child.stderr is not None
        self._done("spawn")
        instance.pid = child.pid
        if self._profile is not None:
            self.inside = Inside(host=child, profile=self._profile)
        journal.note(
            instance, f"{journal.cell} successfully created container for instance {instance.id}"
        )
        try:
            async with trio.open_nursery() as pumps:
                said = partial(pump, instance=instance, journal=journal)
                pumps.start_soon(partial(said, child.stdout, file=out, error=False))
                pumps.start_soon(partial(said, child.stderr, file=err, error=True))
                async with trio.open_nursery() as watch:
                    if instance.isolated and instance.port is not None:
                        watch.start_soon(self._lead_in, child)
                    else:
                        watch.start_soon(self._until_ready, child)
                    watch.start_soon(self._until_stopped, child)
                    watch.start_soon(self._until_condemned, child)
                    await child.wait()
                    watch.cancel_scope.cancel()
                pumps.cancel_scope.deadline = trio.current_time() + LAST_WORDS
        finally:
            instance.pid = None
            self.inside = None
            await child.aclose()
        assert child.returncode is not None
        if child.out_of_memory and not self._stop.is_set():
            quota = instance.order.limits.mem * MIB
            self._verdict = self._verdict or over_memory(quota, quota)
        return self._ending(shell_status(child.returncode))

    def _ending(self, status: int) -> Ending:
        description = self._verdict or describe(status)
        self.shared.journal.say(self.instance, [description])
        if self._stop.is_set() and not self._verdict:
            return Ending(reason=self._reason, status=status, description=description)
        return Ending(reason="CRASHED", status=status, description=description)

    async def _lead_in(self, child: Child) -> None:
        """Make an instance whose network is its own reachable, and see that it gets ready.

        Routers of this process dial it themselves; others take the relay, at the address that
        they are told.
        """
        instance, kit = self.instance, self.shared.kit
        assert instance.port is not None
        address = instance.host, instance.port
        try:
            async with open_dialer(kit.spawner, child, ISOLATED_PORT) as dialer:
                listeners = await trio.open_tcp_listeners(instance.port, host=instance.host)
                kit.dialers[address] = dialer.dial
                try:
                    async with trio.open_nursery() as leading:
                        leading.start_soon(relay, dialer, listeners[0])
                        await self._until_ready(child)
                finally:
                    del kit.dialers[address]
        except (ApplianceError, OSError) as error:
            if child.returncode is None:
                self.condemn(str(error).removesuffix("."))

    def _place(self) -> Place | None:
        instance = self.instance
        told = instance.listens[1]
        if instance.port is None or told is None:
            return None
        dial = self.shared.kit.dialers.get((instance.host, instance.port))
        return Place(host=instance.host, port=instance.port, told=told, dial=dial)

    async def _until_ready(self, child: Child) -> None:
        instance, config = self.instance, self.shared.config
        port = instance.listens[1]
        check = check_for(instance.order.health_check, port, config.start_timeout)
        failure = await wait_until_ready(check, self._place(), self.shared.kit.http)
        if failure is not None:
            self.condemn(str(failure))
        elif child.returncode is None and not self._stop.is_set():
            self._done("ready")
            if check.kind != "process":
                self.shared.journal.note(instance, "Container became healthy")
            self.shared.kit.trace.event(
                "instance.ready", app=instance.order.name, instance=instance.id, **self._phases
            )
            self.watcher.running(instance)

    async def _until_stopped(self, child: Child) -> None:
        await self._stop.wait()
        journal = self.shared.journal
        journal.note(self.instance, f"{journal.cell} stopping instance {self.instance.id}")
        self.watcher.ending(self.instance)
        if self.instance.port is not None:
            # The routers hear of it now: what they have just sent here is still answered.
            await trio.sleep(self.shared.config.drain)
        # On the thread that collects children: the pid is nobody else's meanwhile.
        await self.shared.kit.spawner.call(partial(ask_to_end, child))
        await trio.sleep(self.shared.config.stop_timeout)
        child.kill()

    async def _until_condemned(self, child: Child) -> None:
        await self._condemned.wait()
        child.kill()

    def _done(self, phase: str) -> None:
        now = trio.current_time()
        self._phases[f"{phase}_ms"] = round((now - self._phase_began) * 1000, 1)
        self._phase_began = now
