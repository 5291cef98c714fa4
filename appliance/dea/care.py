"""Looks after one instance while its programs run: the way to it, its health, its readiness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from appliance.dea.checks import Check, check_for, readiness_for
from appliance.dea.health import Place, follow_readiness, until_unhealthy, wait_until_healthy
from appliance.dea.instance import ISOLATED_PORT, Instance
from appliance.dea.shared import Shared, Watcher
from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.dialer import open_dialer, relay
from appliance.kernel.process.spawner import Child

ENDING = 0.1  # seconds in which the end of a program is noticed

READY = (
    "Container passed the readiness health check. Container marked ready and added to route pool."
)
UNREADY = (
    "Container failed the readiness health check."
    " Container marked not ready and removed from route pool."
)


@dataclass(eq=False, kw_only=True)
class Care:
    """Of one instance. What users read of it are the sentences of Cloud Foundry's cells."""

    instance: Instance
    shared: Shared
    watcher: Watcher
    healthy: Callable[[], bool]  # told when it is, once; False when it is about to end anyway
    condemn: Callable[[str], None]  # it cannot go on, because of …
    fail: Callable[[str], None]  # it was well, and is not any more, because of …

    async def take(self, child: Child) -> None:
        """Look after it until cancelled, or until there is nothing more to be seen."""
        if self.instance.isolated and self.instance.port is not None:
            await self._lead_in(child, self.instance.port)
        else:
            await self._look_after()

    async def _lead_in(self, child: Child, port: int) -> None:
        """Make an instance whose network is its own reachable, and look after it.

        Routers of this process dial it themselves; others take the relay, at the address that
        they are told.
        """
        instance, kit = self.instance, self.shared.kit
        address = instance.host, port
        try:
            async with open_dialer(kit.spawner, child, ISOLATED_PORT) as dialer:
                listeners = await trio.open_tcp_listeners(port, host=instance.host)
                kit.dialers[address] = dialer.dial
                try:
                    async with trio.open_nursery() as leading:
                        leading.start_soon(relay, dialer, listeners[0])
                        await self._look_after()
                finally:
                    del kit.dialers[address]
        except (ApplianceError, OSError) as error:
            if child.returncode is None:
                self.condemn(str(error).removesuffix("."))

    async def _look_after(self) -> None:
        """See that it gets healthy, and stays so."""
        order, place, http = self.instance.order, self._place(), self.shared.kit.http
        told = self.instance.listens[1]
        check = check_for(order.health_check, told, self.shared.config.start_timeout)
        if check.looks:
            self._note("Starting health monitoring of container")
        failure = await wait_until_healthy(check, place, http)
        if self._leaves():
            return
        if failure is not None:
            late = f"Failed after {check.timeout:g}s: startup health check never passed."
            self._note(late, error=True)
            self.condemn(str(failure))
            return
        if not self.healthy():
            return
        if check.looks:
            self._note("Container became healthy")
        readiness = readiness_for(order.readiness_health_check, told)
        self.instance.ready = not readiness.looks or place is None
        self.watcher.running(self.instance)
        async with trio.open_nursery() as nursery:
            if readiness.looks and place is not None:
                nursery.start_soon(self._follow, readiness, place)
            wrong = await until_unhealthy(check, place, http)
            nursery.cancel_scope.cancel()
        # A program that is just ending is not well either, but then its end is what counts.
        await trio.sleep(ENDING)
        if self._leaves():
            return
        self._note(wrong, source_type="HEALTH", error=True)
        self._note("Container became unhealthy", error=True)
        self.fail(f"Instance became unhealthy: {wrong}")

    async def _follow(self, readiness: Check, place: Place) -> None:
        text = "Starting readiness health monitoring of container"
        self._note(text, source_type="HEALTH")
        await follow_readiness(readiness, place, self.shared.kit.http, self._ready)

    def _ready(self, ready: bool) -> None:
        if self._leaves():
            return
        self._note(READY if ready else UNREADY, source_type="HEALTH")
        self.instance.ready = ready
        self.watcher.routable(self.instance)

    def _leaves(self) -> bool:
        """Whether it was asked to end: then it need not be well any more."""
        return self.instance.leaving

    def _place(self) -> Place | None:
        instance = self.instance
        told = instance.listens[1]
        if instance.port is None or told is None:
            return None
        dial = self.shared.kit.dialers.get((instance.host, instance.port))
        return Place(host=instance.host, port=instance.port, told=told, dial=dial)

    def _note(self, text: str, *, source_type: str = "CELL", error: bool = False) -> None:
        self.shared.journal.note(self.instance, text, source_type=source_type, error=error)
