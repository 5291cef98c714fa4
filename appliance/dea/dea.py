"""The state of one DEA: its instances and what it has promised; what it does with each order."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.dea.ending import Ending
from appliance.dea.errors import NoRoom, StartFailed
from appliance.dea.instance import Instance, folder_name, matches
from appliance.dea.life import Life
from appliance.dea.messages import (
    Discover,
    FindDroplet,
    Hello,
    Start,
    Stop,
)
from appliance.dea.placement import Room, taint
from appliance.dea.ports import Ports
from appliance.dea.runtimes import supported
from appliance.dea.shared import Shared
from appliance.dea.voice import Voice
from appliance.kernel.errors import ApplianceError, Unavailable
from appliance.router.messages import Routing

MIB = 1024 * 1024

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(eq=False, kw_only=True)
class Dea:
    """One DEA. Handlers are synchronous; lives run in *nursery*."""

    id: str
    hello: Hello
    apps: Path  # the folder of all instances' folders
    shared: Shared
    voice: Voice
    ports: Ports
    nursery: trio.Nursery
    runtimes: list[str]
    credentials: list[str]  # of the file viewer
    instances: dict[str, Instance] = field(default_factory=dict)  # by id, CRASHED ones too
    lives: dict[str, Life] = field(default_factory=dict)  # of live instances and tasks, by id
    isolated: bool = False  # instances have networks of their own
    draining: bool = False
    news: trio.Event = field(default_factory=trio.Event)  # an instance runs that nobody measured

    @property
    def room(self) -> Room:
        """How full it is now."""
        config = self.shared.config
        live = [life.instance for life in self.lives.values()]
        return Room(
            max_memory=config.max_memory,
            reserved=sum(instance.order.limits.mem for instance in live),
            max_instances=config.max_instances,
            instances=len(live),
        )

    def matching(self, wanted: Stop | FindDroplet) -> list[Instance]:
        """The instances that *wanted* names."""
        return [instance for instance in self.instances.values() if matches(instance, wanted)]

    def eagerness(self, question: Discover) -> float | None:
        """Seconds until an offer is due; None when there is none to be made."""
        if not self.would_take(question):
            return None
        same = sum(
            instance.live and instance.droplet == str(question.droplet)
            for instance in self.instances.values()
        )
        return taint(self.room, same)

    def would_take(self, question: Discover) -> bool:
        """Whether an instance like that has room and a runtime here."""
        return (
            not self.draining
            and not question.prod
            and self.room.takes(question.limits.mem)
            and supported(question.runtime_info, self.shared.config.runtimes)
        )

    def start(self, order: Start) -> None:
        """Take *order*, or say at once why not: a start is never acknowledged otherwise."""
        given = order.instance_guid or ""
        id_ = given if is_id(given) else self.shared.kit.ids.hex(32)
        trace = self.shared.kit.trace
        if id_ in self.instances:
            trace.event("order.repeated", app=order.name, instance=id_)
            return
        room, now = self.room, self.shared.kit.clock.time()
        instance = Instance(
            order=order,
            id=id_,
            private_id=self.shared.kit.ids.hex(64),
            folder=self._folder_for(order, id_),
            host=self.shared.config.host,
            uris=list(order.uris),
            routing=order.routing,
            since=now,
            isolated=self.isolated,
        )
        try:
            if self.draining or not room.takes(order.limits.mem):
                raise NoRoom
            instance.port = self._port_for(order)
        except StartFailed as error:
            instance.enter("CRASHED", now)
            instance.exit_description = str(error)
            trace.event("order.refused", app=order.name, instance=id_, why=str(error))
            self.voice.exited(instance, "CRASHED")
            return
        self.instances[id_] = instance
        trace.event("instance.accepted", app=order.name, index=order.index, instance=id_)
        self.begin(Life(instance, self.shared, self))
        self.voice.heartbeat([instance])

    def begin(self, life: Life) -> None:
        """Run *life*; its watcher calls `over` at its end."""
        self.lives[life.instance.id] = life
        self.advertise()
        self.nursery.start_soon(self._live, life)

    def over(self, instance: Instance) -> None:
        """What *instance* had reserved is free again."""
        instance.memory, instance.cpu = 0, 0.0
        del self.lives[instance.id]
        self.advertise()

    def _folder_for(self, order: Start, id_: str) -> Path:
        folder = self.apps / folder_name(order, id_)
        # A former instance by that name may be on its way out.
        return (
            folder
            if not folder.exists()
            else self.apps / f"{folder.name}-{self.shared.kit.ids.hex(8)}"
        )

    async def _live(self, life: Life) -> None:
        try:
            await life.run()
        finally:
            if life.instance.port is not None:
                self.ports.give_back(life.instance.port)

    def _port_for(self, order: Start) -> int | None:
        wanted = bool(order.uris) if order.port_wanted is None else order.port_wanted
        # Whoever has a route needs a port, whatever else was said.
        if not wanted and not order.uris:
            return None
        try:
            return self.ports.take()
        except Unavailable as error:
            raise StartFailed(str(error)) from error

    def stop(self, order: Stop) -> None:
        """Stop what matches; what has crashed is forgotten."""
        for instance in self.matching(order):
            if life := self.lives.get(instance.id):
                life.stop()
            else:
                self.forget(instance)

    def update(self, droplet: str, uris: list[str], routing: Mapping[str, Routing]) -> None:
        """Instances of *droplet* answer for *uris* from now on, and for no others."""
        for instance in self.instances.values():
            if instance.droplet != droplet or not instance.live:
                continue
            before, known = instance.routing, instance.registered
            instance.uris, instance.routing = list(uris), routing
            if instance.routable:
                news = [u for u in uris if u not in known or routing.get(u) != before.get(u)]
                self.voice.register(instance, news)
                self.voice.unregister(instance, [u for u in instance.registered if u not in uris])

    def register_all(self) -> None:
        """Tell routers again of every instance that runs."""
        for instance in self.instances.values():
            if instance.routable:
                self.voice.register(instance, list(instance.uris))

    def heartbeat(self) -> None:
        """Tell the state of everything that is here."""
        self.voice.heartbeat(self.instances.values())

    def advertise(self) -> None:
        """Tell how much room is left."""
        if not self.draining:
            self.voice.advertise(self.room.available, self.runtimes)

    # What lives tell.

    def running(self, instance: Instance) -> None:
        """It is ready: the controller first, then the routers."""
        instance.enter("RUNNING", self.shared.kit.clock.time())
        self.voice.heartbeat([instance])
        if instance.routable:
            self.voice.register(instance, list(instance.uris))
        self.news.set()

    def routable(self, instance: Instance) -> None:
        """Requests may go to it from now on, or no longer."""
        if instance.routable:
            self.voice.register(instance, list(instance.uris))
        else:
            self.voice.unregister(instance, list(instance.registered))
        self.voice.heartbeat([instance])

    def ending(self, instance: Instance) -> None:
        """It is to end: no more requests for it, before it hears of that."""
        instance.leaving = True
        self.voice.unregister(instance, list(instance.registered))

    async def ended(self, instance: Instance, ending: Ending) -> None:
        """It is gone: say so, take back what it had, keep the folder of a crash for a while."""
        kit = self.shared.kit
        crashed = ending.reason == "CRASHED"
        self.voice.unregister(instance, list(instance.registered))
        instance.enter("CRASHED" if crashed else "STOPPED", kit.clock.time())
        instance.exit_status = ending.status
        instance.exit_description = ending.description
        kit.trace.event(
            "instance.crashed" if crashed else "instance.stopped",
            app=instance.order.name,
            instance=instance.id,
            why=ending.description,
        )
        self.voice.exited(instance, ending.reason)
        self.over(instance)
        if not crashed or instance.order.flapping:
            self.forget(instance)
            return
        for older in self._crashes_before(instance):
            self.forget(older)
        await self._tidy(kit.spawner.sandbox.reclaim, instance)

    def _crashes_before(self, newest: Instance) -> list[Instance]:
        # One crash of each index is kept: a loop of crashes would fill the disk.
        return [
            instance
            for instance in self.instances.values()
            if instance.state == "CRASHED"
            and instance is not newest
            and (instance.droplet, instance.order.index) == (newest.droplet, newest.order.index)
        ]

    def forget(self, instance: Instance) -> None:
        """Drop what is left of an instance that is over; its folder goes in the background."""
        if self.instances.pop(instance.id, None):
            self.discard(instance)

    def discard(self, instance: Instance) -> None:
        """Remove its folder in the background."""
        self.nursery.start_soon(self._remove, instance)

    async def _remove(self, instance: Instance) -> None:
        await self._tidy(self.shared.kit.spawner.sandbox.remove, instance)

    async def _tidy(self, work: Callable[[Path], Awaitable[None]], instance: Instance) -> None:
        try:
            if instance.folder.exists():
                await work(instance.folder)
        except ApplianceError as error:
            self.shared.kit.trace.event(
                "folder.stuck", instance=instance.id, folder=str(instance.folder), why=str(error)
            )

    def reap(self, older_than: float) -> None:
        """Forget crashes from before *older_than*, seconds since 1970."""
        for instance in list(self.instances.values()):
            if instance.state == "CRASHED" and instance.since < older_than:
                self.forget(instance)

    async def drain(self) -> None:
        """Take nothing new, stop everything, and wait until all of it is gone."""
        self.draining = True
        lives = list(self.lives.values())
        for life in lives:
            life.stop("DEA_SHUTDOWN")
        for life in lives:
            await life.over.wait()


def is_id(text: str) -> bool:
    """Whether *text* can name an instance, and a part of its folder."""
    return _ID.fullmatch(text) is not None
