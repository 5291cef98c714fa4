"""Runs errands to brokers: sends them, waits for what goes on, and tells how it ended.

What was promised is in the store until it has ended. An errand that a stop interrupts is taken
up at the next start where it was: sent again if the broker's answer is not known, asked about
otherwise; the specification lets both be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import trio

from appliance.kernel.errors import ApplianceError, Unavailable
from fake_controller.broker.client import Planned
from fake_controller.broker.errors import BrokerError
from fake_controller.controller import Controller, end_job
from fake_controller.errors import missing
from fake_controller.events import Actor
from fake_controller.model import (
    Destination,
    Job,
    Operation,
    ServiceBroker,
    ServiceErrand,
    ServiceRouteBinding,
)
from fake_controller.running import Runner
from fake_controller.services.binding_errands import BindingErrand, binding_errand
from fake_controller.services.brokers import client_of
from fake_controller.services.errand import Errand, Failed
from fake_controller.services.instance_errands import instance_errand
from fake_controller.services.instances import operation
from fake_controller.services.promises import promise_forgetting
from fake_controller.store import Tx

FORGET_TIMES = 10  # attempts to have something deleted; the pause before each doubles


class Suspended(Unavailable):
    """The process is about to end; the errand is taken up at the next start."""

    def __init__(self) -> None:
        super().__init__("The appliance is stopping. This goes on after its next start.")


@dataclass(frozen=True)
class Operator:
    """Runs the errands of one controller."""

    cc: Controller
    runner: Runner

    async def resume(self) -> None:
        """Take up what was promised before this start; a part of something with the whole."""
        promised = await self.cc.store.find(ServiceErrand)
        self.begin(one for one in promised if one.within is None)

    def begin(self, promised: Iterable[ServiceErrand]) -> None:
        """Run these in the background."""
        for one in promised:
            self.cc.work.start_soon(self._run, one, trio.Event())

    async def start(self, promised: ServiceErrand) -> str:
        """Run it in the background; returns its job, after a moment in which most of them end."""
        known = trio.Event()  # how it ended, or that the broker goes on with it
        self.cc.work.start_soon(self._run, promised, known)
        with trio.move_on_after(self.cc.config.hold):
            await known.wait()
        return promised.job_guid or ""

    async def _run(self, promised: ServiceErrand, known: trio.Event) -> None:
        try:
            if promised.purpose.startswith("forget-"):
                await self._forget(promised)
            else:
                await self.perform(promised, known)
        except Suspended:
            pass
        except ApplianceError as error:
            # Its job, if it has one, has been told.
            self.cc.kit.trace.event("errand.failed", purpose=promised.purpose, why=str(error))
        known.set()

    async def perform(self, promised: ServiceErrand, known: trio.Event | None = None) -> None:
        """Run it to its end.

        Raises:
          CloudError: it failed, as the job of who asked for it is told.
          Suspended: the process is about to end.
        """
        errand = await self.cc.store.read(lambda tx: self._errand(tx, promised))
        if errand is None:
            await self._drop(promised)
            raise missing("Service instance or binding")
        try:
            await self._carry_out(errand, known)
        except Suspended:
            raise
        except ApplianceError as error:
            why, told = error, errand.in_words(error)
            orphans = await self.cc.store.write(lambda tx: self._fail(tx, errand, why, told))
            self.cc.build_changed()
            self.begin(orphans)
            raise told from None
        if isinstance(errand, BindingErrand) and isinstance(errand.binding, ServiceRouteBinding):
            await self.reroute([errand.binding.route_guid])

    async def perform_all(
        self, promised: Iterable[ServiceErrand], known: trio.Event | None = None
    ) -> None:
        """Run each to its end, one after the other.

        Raises:
          CloudError: the first one that failed; the others have been run all the same.
          Suspended: the process is about to end.
        """
        problem: ApplianceError | None = None
        for one in promised:
            try:
                await self.perform(one, known)
            except Suspended:
                raise
            except ApplianceError as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _errand(self, tx: Tx, promised: ServiceErrand) -> Errand | None:
        find = binding_errand if promised.purpose in ("bind", "unbind") else instance_errand
        return find(self.cc, tx, promised)

    async def _carry_out(self, errand: Errand, known: trio.Event | None) -> None:
        store, promised = self.cc.store, errand.promised
        goes_on = promised.sent
        if not promised.sent:
            await self.perform_all(await store.write(errand.first), known)
            goes_on, name = await errand.send()
            if goes_on:
                errand.promised = await store.write(lambda tx: self._begun(tx, errand, name))
                self.cc.build_changed()
        if goes_on:
            if known is not None:
                known.set()
            await self._wait(errand)
            await errand.arrive()

        def complete(tx: Tx) -> None:
            errand.complete(tx)
            tx.delete(promised)
            if promised.job_guid:
                end_job(tx, promised.job_guid)

        await store.write(complete)
        self.cc.build_changed()

    def _begun(self, tx: Tx, errand: Errand, name: str | None) -> ServiceErrand:
        """Keep that the broker goes on with it, and calls that *name*."""
        self._note(tx, errand, "in progress", None, name)
        errand.begun(tx)
        # Who waits for the whole learns that a part of it goes on.
        whole = tx.get(ServiceErrand, errand.promised.within) or errand.promised
        if job := tx.get(Job, whole.job_guid):
            tx.change(job, state="POLLING")
        longest = self.cc.config.broker_operation
        if (own := errand.place.plan.maximum_polling_duration) and own > 0:
            longest = min(longest, own)
        return tx.change(errand.promised, sent=True, deadline=tx.clock.time() + longest)

    async def _wait(self, errand: Errand) -> None:
        """Ask until the broker has done it.

        Raises:
          Failed: it has not been able to.
          BrokerError: it has taken too long, and may still do it.
        """
        while True:
            pause = await self._ask(errand)
            if pause is None:
                return
            left = errand.promised.deadline - self.cc.kit.clock.time()
            if left <= 0:
                text = f"Service Broker failed to {errand.task} within the required time."
                raise BrokerError("OperationTimeout", text, orphan=True)
            await self._pause(min(pause, left))

    async def _ask(self, errand: Errand) -> float | None:
        """Ask once; the seconds until the next time, or None when the broker has done it."""
        latest, usual = await self._latest(errand), self.cc.config.broker_poll
        try:
            told = await errand.progress(latest)
        except BrokerError as error:  # not for ever, one hopes
            self.cc.kit.trace.event("errand.unanswered", why=str(error))
            return usual
        if told.state == "succeeded":
            return None
        if told.state == "failed":
            raise Failed(told.description)
        if told.description != latest.description:
            state, name = "in progress", latest.broker_operation
            await self.cc.store.write(
                lambda tx: self._note(tx, errand, state, told.description, name)
            )
        return max(usual, told.retry_after or 0)

    async def _latest(self, errand: Errand) -> Operation:
        """The last operation, which is still this errand's own."""
        record = await self.cc.store.read(errand.subject)
        if record is None:
            raise missing("Service instance or binding")
        if record.last_operation.type != errand.operation:
            raise ApplianceError(f"{record.last_operation.type} in progress")
        return record.last_operation

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.cc.kit.draining.wait()
        if self.cc.kit.draining.is_set():
            raise Suspended

    def _note(
        self, tx: Tx, errand: Errand, state: str, description: str | None, name: str | None = None
    ) -> None:
        """Store how it stands, unless another operation has taken its place."""
        record = errand.subject(tx)
        if record is None or record.last_operation.type != errand.operation:
            return
        latest = operation(
            tx,
            errand.operation,
            state,
            description,
            before=record.last_operation,
            broker_operation=name,
        )
        tx.change(record, last_operation=latest)

    def _fail(
        self, tx: Tx, errand: Errand, why: ApplianceError, told: ApplianceError
    ) -> list[ServiceErrand]:
        """Store that it failed; returns what must be done about it."""
        promised = errand.promised
        self._note(tx, errand, "failed", str(why))
        tx.delete(promised)
        if promised.job_guid:
            end_job(tx, promised.job_guid, told)
        if not (errand.orphan and isinstance(why, BrokerError) and why.orphan):
            return []
        binding = promised.resource_guid if isinstance(errand, BindingErrand) else None
        return [promise_forgetting(tx, errand.orphan, errand.place, errand.actor, binding=binding)]

    async def _drop(self, promised: ServiceErrand) -> None:
        def work(tx: Tx) -> None:
            tx.delete(promised)
            if promised.job_guid:
                end_job(tx, promised.job_guid, missing("Service instance or binding"))

        await self.cc.store.write(work)
        self.cc.build_changed()

    async def _forget(self, promised: ServiceErrand) -> None:
        """Have the broker delete what may be left of something that failed."""
        asked, store = promised.asked, self.cc.store
        planned = Planned(service_id=asked["service_id"], plan_id=asked["plan_id"])
        for attempt in range(FORGET_TIMES):
            broker = await store.read(lambda tx: tx.get(ServiceBroker, asked["broker"]))
            if broker is None:
                break
            client = client_of(self.cc, broker, Actor(**promised.actor).guid)
            try:
                if promised.purpose == "forget-binding":
                    await client.unbind(asked["instance"], promised.resource_guid, planned)
                else:
                    await client.deprovision(asked["instance"], planned)
                break
            except ApplianceError as error:
                self.cc.kit.trace.event("orphan.kept", guid=promised.resource_guid, why=str(error))
            await self._pause(self.cc.config.broker_poll * 2**attempt)
        await store.write(lambda tx: tx.delete(promised))

    async def reroute(self, routes: Iterable[str]) -> None:
        """Tell the DEAs what the requests of these routes go through now."""
        wanted = list(routes)
        found = await self.cc.store.read(lambda tx: tx.find(Destination, route_guid=wanted))
        for app in sorted({one.app_guid for one in found}):
            await self.runner.update_routes(app)
