"""An errand to a broker: what is asked for, and what changes when it has gone well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from appliance.kernel.errors import ApplianceError
from fake_controller.broker.answers import Progress
from fake_controller.broker.client import Broker
from fake_controller.broker.errors import BrokerError
from fake_controller.controller import Controller
from fake_controller.errors import CloudError
from fake_controller.events import Actor, record_event
from fake_controller.model import Operation, Record, ServiceErrand, ServiceInstance
from fake_controller.services.brokers import client_of
from fake_controller.services.places import Binding, Place
from fake_controller.store import Tx


class Errand(ABC):
    """One thing that a broker is asked to do. `operator` sends it, waits, and tells."""

    operation: ClassVar[str]  # create, update, delete: the type of the last operation
    verb: ClassVar[str]  # of "… could not be completed"
    task: ClassVar[str]  # of "Service Broker failed to … within the required time"
    #: The kind of errand that makes a broker forget what may be left of this one.
    orphan: ClassVar[str | None] = None

    def __init__(self, cc: Controller, promised: ServiceErrand, place: Place) -> None:
        self.cc, self.promised, self.place = cc, promised, place
        self.actor = Actor(**promised.actor)

    @property
    def broker(self) -> Broker:
        """The broker, asked for who wanted this."""
        return client_of(self.cc, self.place.broker, self.actor.guid)

    @property
    @abstractmethod
    def event(self) -> str:
        """What its audit events begin with: ``audit.service_instance``."""

    @abstractmethod
    def subject(self, tx: Tx) -> ServiceInstance | Binding | None:
        """The record that it is about, as it is now."""

    def first(self, _tx: Tx) -> Sequence[ServiceErrand]:
        """What must be done before."""
        return ()

    @abstractmethod
    async def send(self) -> tuple[bool, str | None]:
        """Ask the broker; whether it goes on, and what it calls that."""

    @abstractmethod
    async def progress(self, latest: Operation) -> Progress:
        """Ask the broker how it stands."""

    async def arrive(self) -> None:  # noqa: B027 - most have nothing to ask for
        """Ask for what came of it, now that the broker has done it in its own time."""

    @abstractmethod
    def complete(self, tx: Tx) -> None:
        """Make the records what has been done."""

    @abstractmethod
    def begun(self, tx: Tx) -> None:
        """Keep what is known while the broker goes on."""

    def in_words(self, error: ApplianceError) -> CloudError:
        """The error of the job, for what the broker said."""
        return unable(self.verb, str(error))

    def note(self, tx: Tx, what: str, target: Record) -> None:
        """Write the audit event ``….what``."""
        data = {"request": self.promised.asked.get("request") or {}}
        record_event(tx, f"{self.event}.{what}", self.actor, target, data)


class Failed(BrokerError):
    """The broker tells that an operation has failed, which it had begun."""

    def __init__(self, description: str | None) -> None:
        super().__init__("LastOperationFailed", description or "the service broker gave no reason")


def unable(verb: str, why: str) -> CloudError:
    """The error of jobs."""
    return CloudError(400, 10009, "CF-UnableToPerform", f"{verb} could not be completed: {why}")
