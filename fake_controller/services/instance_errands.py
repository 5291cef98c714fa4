"""Errands to brokers about instances: made, changed, and deleted."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.kernel.errors import ApplianceError
from fake_controller.broker.answers import Progress
from fake_controller.broker.errors import BrokerError, Concurrency
from fake_controller.controller import Controller
from fake_controller.errors import CloudError
from fake_controller.model import (
    Operation,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
    ServicePlan,
    ServiceRouteBinding,
)
from fake_controller.services.errand import Errand, Failed, unable
from fake_controller.services.instances import check_name, delete_instance, operation
from fake_controller.services.places import Binding, Place, place_of, public
from fake_controller.services.promises import promise_unbind
from fake_controller.store import Tx


class InstanceErrand(Errand):
    """An errand about an instance."""

    @property
    def event(self) -> str:
        """Instances have their own."""
        return "audit.service_instance"

    def subject(self, tx: Tx) -> ServiceInstance | None:
        """The instance."""
        return tx.get(ServiceInstance, self.place.instance.guid)

    async def progress(self, latest: Operation) -> Progress:
        """How the broker's operation on the instance stands."""
        return await self.broker.progress(
            self.place.instance.guid,
            None,
            self.place.planned,
            latest.broker_operation,
            deleting=self.operation == "delete",
        )

    async def _fetched_dashboard(self) -> dict[str, str]:
        """The dashboard's address, where the broker can be asked for it."""
        if not self.place.offering.instances_retrievable:
            return {}
        try:
            told = await self.broker.instance(self.place.instance.guid)
        except ApplianceError:
            return {}  # it is there all the same
        return {"dashboard_url": told.dashboard_url} if told.dashboard_url else {}


class Provision(InstanceErrand):
    """Make an instance."""

    operation, verb, task = "create", "provision", "provision"
    orphan = "forget-instance"

    def __init__(self, cc: Controller, promised: ServiceErrand, place: Place) -> None:
        super().__init__(cc, promised, place)
        self._made: dict[str, object] = {}

    async def send(self) -> tuple[bool, str | None]:
        """PUT the instance."""
        place, instance = self.place, self.place.instance
        told: dict[str, object] = {
            "organization_guid": place.organization.guid,
            "space_guid": place.space.guid,
            "context": place.context(
                instance_name=instance.name, instance_annotations=public(instance.annotations)
            ),
        }
        if parameters := self.promised.asked.get("parameters"):
            told["parameters"] = parameters
        if place.plan.maintenance_info:
            told["maintenance_info"] = place.plan.maintenance_info
        made, goes_on = await self.broker.provision(instance.guid, place.planned, **told)
        self._made = {"dashboard_url": made.dashboard_url, "broker_metadata": made.metadata}
        return goes_on, made.operation

    def begun(self, tx: Tx) -> None:
        """The dashboard can be there before the instance is."""
        self.note(tx, "start_create", tx.change(self._record(tx), **self._made))

    async def arrive(self) -> None:
        """The dashboard's address may be known only now."""
        self._made = dict(await self._fetched_dashboard())

    def complete(self, tx: Tx) -> None:
        """The instance is there."""
        done = operation(tx, "create", description="", before=self._record(tx).last_operation)
        changed = tx.change(self._record(tx), **self._made, last_operation=done)
        self.note(tx, "create", changed)

    def in_words(self, error: ApplianceError) -> CloudError:
        """What fails in the broker's own time has another verb."""
        return unable("create managed" if isinstance(error, Failed) else self.verb, str(error))

    def _record(self, tx: Tx) -> ServiceInstance:
        return tx.need(ServiceInstance, self.place.instance.guid)


class Update(InstanceErrand):
    """Change an instance: its plan, its version, its parameters, or a name the broker knows."""

    operation, verb, task = "update", "update", "update"

    def __init__(self, cc: Controller, promised: ServiceErrand, place: Place) -> None:
        super().__init__(cc, promised, place)
        self._changes: dict[str, object] = dict(promised.asked.get("changes") or {})

    async def send(self) -> tuple[bool, str | None]:
        """PATCH the instance."""
        place, instance = self.place, self.place.instance
        new = await self.cc.store.read(self._new_plan)
        told: dict[str, object] = {
            "previous_values": {
                "plan_id": place.plan.catalog_id,
                "service_id": place.offering.catalog_id,
                "organization_id": place.organization.guid,
                "space_id": place.space.guid,
                "maintenance_info": instance.maintenance_info,
            },
            "context": place.context(instance_name=self._changes.get("name", instance.name)),
            "parameters": self.promised.asked.get("parameters") or {},
        }
        if version := self._changes.get("maintenance_info"):
            told["maintenance_info"] = version
        made, goes_on = await self.broker.update(instance.guid, new.planned, **told)
        if made.dashboard_url:
            self._changes["dashboard_url"] = made.dashboard_url
        if made.metadata:
            self._changes["broker_metadata"] = made.metadata
        return goes_on, made.operation

    def _new_plan(self, tx: Tx) -> Place:
        guid = self._changes.get("service_plan_guid")
        return self.place.on(tx.need(ServicePlan, str(guid))) if guid else self.place

    def begun(self, tx: Tx) -> None:
        """The changes are made when the broker has made them."""
        self.note(tx, "start_update", self.place.instance)

    async def arrive(self) -> None:
        """The dashboard may have moved."""
        self._changes |= await self._fetched_dashboard()

    def complete(self, tx: Tx) -> None:
        """The instance is what was asked for."""
        instance = tx.need(ServiceInstance, self.place.instance.guid)
        name = self._changes.get("name", instance.name)
        if name != instance.name:  # it was free when this began
            check_name(tx, str(name), instance.space_guid)
        if "tags" in self._changes:
            self._changes["tags"] = tuple(self._changes["tags"])  # type: ignore[arg-type]
        done = operation(tx, "update", description="", before=instance.last_operation)
        self.note(tx, "update", tx.change(instance, **self._changes, last_operation=done))


class Deprovision(InstanceErrand):
    """Delete an instance, after everything that is bound to it."""

    operation, verb, task = "delete", "delete", "deprovision"

    def first(self, tx: Tx) -> Sequence[ServiceErrand]:
        """Each binding is deleted before."""
        own = self.promised.guid
        found: list[Binding] = []
        for kind in (ServiceRouteBinding, ServiceCredentialBinding):
            found += tx.find(kind, service_instance_guid=self.place.instance.guid)
        # After a restart some may be on their way already.
        begun = {one.resource_guid: one for one in tx.find(ServiceErrand, within=own)}
        return [
            begun.get(binding.guid) or promise_unbind(tx, binding, self.actor, within=own)
            for binding in found
        ]

    async def send(self) -> tuple[bool, str | None]:
        """DELETE the instance."""
        gone, goes_on = await self.broker.deprovision(self.place.instance.guid, self.place.planned)
        return goes_on, gone.operation

    def begun(self, tx: Tx) -> None:
        """The broker takes its time."""
        self.note(tx, "start_delete", self.place.instance)

    def complete(self, tx: Tx) -> None:
        """It is gone."""
        instance = tx.get(ServiceInstance, self.place.instance.guid)
        if instance is not None:
            self.note(tx, "delete", instance)
            delete_instance(tx, instance)

    def in_words(self, error: ApplianceError) -> CloudError:
        """The sentence has the instance's name, and conflicts are told apart."""
        name = self.place.instance.name
        if isinstance(error, Concurrency):
            text = f"An operation for service instance {name} is in progress."
            return CloudError(409, 60016, "CF-AsyncServiceInstanceOperationInProgress", text)
        if isinstance(error, BrokerError) and error.title == "CF-ServiceBrokerConflict":
            text = f"The service broker reported an error during deprovisioning: {error}"
            return CloudError(409, 60011, "CF-ServiceInstanceDeprovisionFailed", text)
        if isinstance(error, BrokerError):
            return unable(self.verb, f"Service instance {name}: {error}")
        return unable(self.verb, str(error))


def instance_errand(cc: Controller, tx: Tx, promised: ServiceErrand) -> Errand | None:
    """The errand that *promised* is about, or None when its instance is gone."""
    instance = tx.get(ServiceInstance, promised.resource_guid)
    if instance is None:
        return None
    kinds: dict[str, type[InstanceErrand]] = {
        "provision": Provision,
        "update": Update,
        "deprovision": Deprovision,
    }
    return kinds[promised.purpose](cc, promised, place_of(tx, instance))
