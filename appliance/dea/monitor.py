"""Looks at what instances use, and condemns those that use more than they may."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

import trio

from appliance.dea.dea import Dea
from appliance.dea.ending import over_disk, over_memory
from appliance.dea.instance import MIB, Instance
from appliance.kernel.process.usage import Usage, disk_usage, usage_of

DISK_EVERY = 2.5  # looks at memory for each look at the disk, which costs more
TELL_EVERY = 15.0  # seconds between two gauges of an instance, as on Cloud Foundry


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What an instance had used in all at some time."""

    at: float  # on trio's clock
    cpu: float = 0.0  # seconds
    said: int = 0  # bytes of log lines


@dataclass
class Monitor:
    """The watchdog of one DEA. Its limits are on sums, which the kernel does not count for us."""

    dea: Dea
    _seen: dict[str, Seen] = field(default_factory=dict)  # at the last look, by id
    _told: dict[str, float] = field(default_factory=dict)  # when a gauge was last said, by id

    async def run(self) -> None:
        """Look every `DeaConfig.monitor` seconds, and at whatever is new, until cancelled."""
        every = self.dea.shared.config.monitor
        disk_due = 0.0
        while True:
            # At once when an instance begins to run: its owner asks for figures right then.
            with trio.move_on_after(every):
                await self.dea.news.wait()
                disk_due = 0.0
            self.dea.news = trio.Event()
            now = trio.current_time()
            with_disk = now >= disk_due
            if with_disk:
                disk_due = now + DISK_EVERY * every
            await self.look(with_disk=with_disk)

    async def look(self, *, with_disk: bool) -> None:
        """Measure everything that runs, then judge it."""
        looked_at = [life.instance for life in self.dea.lives.values()]
        pids = {one.id: one.pid for one in looked_at if one.pid is not None}
        if not pids:
            return
        visitors = {one.id: frozenset(one.visitors) for one in looked_at if one.id in pids}
        folders = {one.id: one.folder for one in looked_at if one.id in pids}

        def measure() -> tuple[dict[int, Usage], dict[str, int]]:
            disks = {i: disk_usage(folder) for i, folder in folders.items()} if with_disk else {}
            return usage_of({*pids.values()}.union(*visitors.values())), disks

        used, disks = await trio.to_thread.run_sync(measure)
        for id_, pid in pids.items():
            life = self.dea.lives.get(id_)
            # It may have ended meanwhile, and what was measured be nobody.
            if life is None or life.instance.pid != pid:
                continue
            usage = sum((used[one] for one in visitors[id_]), used[pid])
            self._note(life.instance, usage, disks.get(id_))
            self._tell(life.instance)
            if verdict := judge(life.instance):
                self.dea.shared.kit.trace.event("instance.condemned", instance=id_, why=verdict)
                life.condemn(verdict)
        self._seen = {id_: seen for id_, seen in self._seen.items() if id_ in pids}
        self._told = {id_: at for id_, at in self._told.items() if id_ in pids}

    def _tell(self, instance: Instance) -> None:
        """Say its figures in its app's log now and then."""
        now = trio.current_time()
        if instance.state == "RUNNING" and now - self._told.get(instance.id, -inf) >= TELL_EVERY:
            self._told[instance.id] = now
            self.dea.shared.journal.measure(instance)

    def _note(self, instance: Instance, usage: Usage, disk: int | None) -> None:
        now = trio.current_time()
        # The first look tells of all the time since its start.
        last = self._seen.get(instance.id, Seen(at=instance.began_at))
        self._seen[instance.id] = Seen(at=now, cpu=usage.cpu, said=instance.said)
        if now > last.at:
            instance.cpu = max(0.0, 100 * (usage.cpu - last.cpu) / (now - last.at))
            instance.log_rate = (instance.said - last.said) / (now - last.at)
        instance.memory = usage.memory
        if disk is not None:
            instance.disk = disk
        wall = datetime.fromtimestamp(self.dea.shared.kit.clock.time(), UTC)
        instance.looked_at = wall.isoformat(timespec="milliseconds")


def judge(instance: Instance) -> str:
    """Why *instance* must be killed; "" when it keeps within its limits."""
    limits = instance.order.limits
    if instance.memory > limits.mem * MIB:
        return over_memory(instance.source_type, instance.memory, limits.mem * MIB)
    if instance.disk > limits.disk * MIB:
        return over_disk(instance.disk, limits.disk * MIB)
    return ""
