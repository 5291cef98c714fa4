"""Looks at what instances use, and condemns those that use more than they may."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

from appliance.dea.dea import Dea
from appliance.dea.ending import over_disk, over_memory
from appliance.dea.instance import MIB, Instance
from appliance.kernel.process.usage import Usage, disk_usage, usage_of

DISK_EVERY = 2.5  # looks at memory for each look at the disk, which costs more


@dataclass
class Monitor:
    """The watchdog of one DEA. Its limits are on sums, which the kernel does not count for us."""

    dea: Dea
    _cpu: dict[str, tuple[float, float]] = field(default_factory=dict)  # at, seconds used; by id

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
        pids = {i.id: i.pid for i in self.dea.instances.values() if i.live and i.pid is not None}
        if not pids:
            return
        folders = {id_: self.dea.instances[id_].folder for id_ in pids}

        def measure() -> tuple[dict[int, Usage], dict[str, int]]:
            disks = {i: disk_usage(folder) for i, folder in folders.items()} if with_disk else {}
            return usage_of(pids.values()), disks

        used, disks = await trio.to_thread.run_sync(measure)
        for id_, pid in pids.items():
            instance = self.dea.instances.get(id_)
            # It may have ended meanwhile, and what was measured be nobody.
            if instance is None or instance.pid != pid:
                continue
            self._note(instance, used[pid], disks.get(id_))
            if (life := self.dea.lives.get(id_)) and (verdict := judge(instance)):
                self.dea.shared.kit.trace.event("instance.condemned", instance=id_, why=verdict)
                life.condemn(verdict)
        self._cpu = {id_: seen for id_, seen in self._cpu.items() if id_ in pids}

    def _note(self, instance: Instance, usage: Usage, disk: int | None) -> None:
        now = trio.current_time()
        at, spent = self._cpu.get(instance.id, (now, usage.cpu))
        self._cpu[instance.id] = (now, usage.cpu)
        if now > at:
            instance.cpu = max(0.0, 100 * (usage.cpu - spent) / (now - at))
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
