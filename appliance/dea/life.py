"""One instance's life: fetched, unpacked, started, ready, running, over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from appliance.dea.care import Care
from appliance.dea.ending import Ending, describe, over_memory, signal_of
from appliance.dea.environment import (
    environment,
    memory_for_main,
    memory_for_one_process,
    possible,
)
from appliance.dea.errors import NoMemoryLeft, StartFailed
from appliance.dea.instance import MIB, Instance
from appliance.dea.launch import Launch, launch
from appliance.dea.output import LogFile, Voices, pump
from appliance.dea.programs import MAIN, Output, Programs, open_programs
from appliance.dea.shared import Shared, Watcher
from appliance.dea.stopping import ask_to_end
from appliance.dea.unpacking import unpack
from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.profile import HOME, Limits, Profile
from appliance.kernel.process.spawner import Child

LAST_WORDS = 0.5  # seconds that output may still come when the program itself has ended
LIFECYCLE = Path(__file__).with_name("lifecycle")  # scripts for those who come by ssh
PROCESSES = 512  # processes and threads that one instance may have, as in 2012


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What it takes to run one more program where an instance runs."""

    host: Child  # the instance's first program, in its sandbox
    profile: Profile


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
    _verdict: str = ""  # why it has to end, when that is not its own doing
    _condemned: trio.Event = field(default_factory=trio.Event)  # to be killed
    _failed: trio.Event = field(default_factory=trio.Event)  # to be ended as one that crashed
    _asked: bool = False  # to end
    _preparing: trio.CancelScope = field(default_factory=trio.CancelScope)
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
        prepared: tuple[Profile, Launch] | None = None
        try:
            with self._preparing:
                prepared = await self._prepare()
            if prepared is None:
                return Ending(reason=self._reason)
            with (
                LogFile(instance.folder, "stdout.log") as out,
                LogFile(instance.folder, "stderr.log") as err,
            ):
                return await self._run(*prepared, files=(out, err))
        except StartFailed as error:
            return Ending(reason="CRASHED", description=str(error))
        except ApplianceError as error:
            said = str(error).removesuffix(".")
            return Ending(reason="CRASHED", description=f"Droplet could not be started: {said}")

    async def _prepare(self) -> tuple[Profile, Launch]:
        """Everything before the first program: the folder, and how to start in it."""
        instance, shared = self.instance, self.shared
        order, sandbox = instance.order, shared.kit.spawner.sandbox
        if memory_for_main(order) <= 0:
            raise NoMemoryLeft(order.limits.mem - memory_for_main(order), order.limits.mem)
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
            read_only={LIFECYCLE: "/tmp/lifecycle"},
        )
        home = sandbox.inside(profile, instance.folder)
        env = environment(instance, home) | possible(plan.env)
        return replace(profile, env=env), plan

    async def _run(
        self, profile: Profile, plan: Launch, *, files: tuple[LogFile, LogFile]
    ) -> Ending:
        """Start the programs and stay with them to their end."""
        instance, journal = self.instance, self.shared.journal
        spawner = self.shared.kit.spawner
        async with open_programs(spawner, profile, plan, instance.order) as programs:
            child = programs.child
            self._done("spawn")
            instance.pid, instance.began_at = child.pid, trio.current_time()
            self.inside = Inside(host=child, profile=replace(profile, env={}))
            journal.note(
                instance,
                f"{journal.cell} successfully created container for instance {instance.id}",
            )
            try:
                async with trio.open_nursery() as pumps:
                    voices = Voices(instance, journal)
                    for output in programs.outputs:
                        file = files[output.error] if output.program == MAIN else None
                        pumps.start_soon(self._pump, output, voices, file)
                    pumps.start_soon(programs.listen)
                    async with trio.open_nursery() as watch:
                        watch.start_soon(self._care(child).take, child)
                        watch.start_soon(self._until_stopped, child)
                        watch.start_soon(self._until_condemned, child)
                        watch.start_soon(self._until_failed, child)
                        if programs.report is not None:
                            watch.start_soon(self._until_one_ends, programs)
                        await programs.wait()
                        watch.cancel_scope.cancel()
                    text = f"{journal.cell} destroying container for instance {instance.id}"
                    journal.note(instance, text)
                    pumps.cancel_scope.deadline = trio.current_time() + LAST_WORDS
            finally:
                instance.pid = None
                self.inside = None
        return self._ending(programs)

    def _care(self, child: Child) -> Care:
        return Care(
            instance=self.instance,
            shared=self.shared,
            watcher=self.watcher,
            healthy=partial(self._healthy, child),
            condemn=self.condemn,
            fail=self._fail,
        )

    async def _pump(self, output: Output, voices: Voices, file: LogFile | None) -> None:
        say = partial(voices.say, program=output.program, error=output.error)
        await pump(output.stream, say, voices.lose, file)

    def _ending(self, programs: Programs) -> Ending:
        instance, journal = self.instance, self.shared.journal
        if programs.child.out_of_memory and not self._stop.is_set():
            quota = instance.order.limits.mem * MIB
            self._verdict = self._verdict or over_memory(instance.source_type, quota, quota)
        for number, status in programs.ended.items():
            text = f"Exit status {status}{signal_of(status)}"
            journal.say(instance, [text], program=number)
        if self._verdict and not self._failed.is_set():
            journal.note(instance, self._verdict, error=True)
        journal.note(
            instance, f"{journal.cell} successfully destroyed container for instance {instance.id}"
        )
        first, status = programs.status
        description = self._verdict or describe(instance.source_of(first), status)
        if self._stop.is_set() and not self._verdict:
            return Ending(reason=self._reason, status=status, description=description)
        return Ending(reason="CRASHED", status=status, description=description)

    def _healthy(self, child: Child) -> bool:
        if child.returncode is not None or self._stop.is_set():
            return False
        self._done("ready")
        instance = self.instance
        self.shared.kit.trace.event(
            "instance.ready", app=instance.order.name, instance=instance.id, **self._phases
        )
        return True

    def _fail(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        self._failed.set()

    async def _until_one_ends(self, programs: Programs) -> None:
        """None of several programs runs without the others."""
        await programs.one_ended.wait()
        await self._end(programs.child)

    async def _until_failed(self, child: Child) -> None:
        await self._failed.wait()
        await self._end(child)

    async def _until_stopped(self, child: Child) -> None:
        await self._stop.wait()
        journal = self.shared.journal
        journal.note(self.instance, f"{journal.cell} stopping instance {self.instance.id}")
        await self._end(child)

    async def _end(self, child: Child) -> None:
        """Let it end by itself, in its time; then kill it. Once is enough."""
        if self._asked:
            return
        self._asked = True
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
