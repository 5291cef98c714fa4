"""Asks a service broker: one method for each thing that the specification lets us ask."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import trio

from appliance.kernel.clock import Ids
from appliance.kernel.errors import TooLarge
from appliance.kernel.http.auth import basic_header
from appliance.kernel.http.client import Client, Response
from appliance.kernel.http.errors import HttpFailed, TimedOut, Unreachable
from fake_controller.broker import answers
from fake_controller.broker.answers import Bound, Instance, Made, Progress, Removed
from fake_controller.broker.catalog import CatalogOffering, parse_catalog
from fake_controller.broker.errors import broken_off, malformed, timed_out, unreachable

VERSION = "2.15"  # of the specification
CATALOG_MOST = 8 * 1024 * 1024  # bytes; a catalogue with hundreds of schemas has less
ANSWER_MOST = 1024 * 1024  # bytes of any other answer
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What the broker calls the offering and the plan of an instance."""

    service_id: str
    plan_id: str


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One broker, asked on behalf of one user."""

    http: Client
    ids: Ids
    url: str
    username: str
    password: str = field(repr=False)
    timeout: float  # seconds for each answer
    api: str  # where the platform is, host:port
    user_guid: str = ""

    async def catalog(self) -> tuple[CatalogOffering, ...]:
        """What it offers."""
        answer = await self._ask("GET", "/v2/catalog", limit=CATALOG_MOST)
        # Megabytes of it take a while to be read.
        return await trio.to_thread.run_sync(lambda: parse_catalog(answers.listed(answer)))

    async def provision(self, instance: str, planned: Planned, **told: Any) -> tuple[Made, bool]:
        """Make an instance; whether the broker goes on with it."""
        body = {"service_id": planned.service_id, "plan_id": planned.plan_id} | told
        path = f"{_instance(instance)}?accepts_incomplete=true"
        return answers.provisioned(await self._ask("PUT", path, body))

    async def update(self, instance: str, planned: Planned, **told: Any) -> tuple[Made, bool]:
        """Change an instance; whether the broker goes on with it."""
        body = {"service_id": planned.service_id, "plan_id": planned.plan_id} | told
        path = f"{_instance(instance)}?accepts_incomplete=true"
        return answers.updated(await self._ask("PATCH", path, body))

    async def deprovision(self, instance: str, planned: Planned) -> tuple[Removed, bool]:
        """Delete an instance; whether the broker goes on with it."""
        return answers.removed(await self._delete(_instance(instance), planned))

    async def bind(
        self, instance: str, binding: str, planned: Planned, **told: Any
    ) -> tuple[Bound, bool]:
        """Make a binding; whether the broker goes on with it."""
        body = {"service_id": planned.service_id, "plan_id": planned.plan_id} | told
        path = f"{_binding(instance, binding)}?accepts_incomplete=true"
        return answers.bound(await self._ask("PUT", path, body))

    async def unbind(self, instance: str, binding: str, planned: Planned) -> tuple[Removed, bool]:
        """Delete a binding; whether the broker goes on with it."""
        return answers.removed(await self._delete(_binding(instance, binding), planned))

    async def progress(
        self,
        instance: str,
        binding: str | None,
        planned: Planned,
        operation: str | None,
        *,
        deleting: bool,
    ) -> Progress:
        """How the latest operation of an instance, or of a *binding*, stands."""
        path = _binding(instance, binding) if binding else _instance(instance)
        query = {"service_id": planned.service_id, "plan_id": planned.plan_id}
        if operation:
            query["operation"] = operation
        answer = await self._ask("GET", f"{path}/last_operation?{urlencode(query)}")
        return answers.progress(answer, deleting=deleting)

    async def instance(self, instance: str) -> Instance:
        """What it knows of an instance; only where its offering says that it can be asked."""
        return answers.fetched(await self._ask("GET", _instance(instance)), Instance)

    async def binding(self, instance: str, binding: str) -> Bound:
        """What it knows of a binding; only where its offering says that it can be asked."""
        return answers.fetched(await self._ask("GET", _binding(instance, binding)), Bound)

    async def _delete(self, path: str, planned: Planned) -> Response:
        query = {
            "service_id": planned.service_id,
            "plan_id": planned.plan_id,
            "accepts_incomplete": "true",
        }
        return await self._ask("DELETE", f"{path}?{urlencode(query)}")

    async def _ask(
        self, method: str, path: str, body: Json | None = None, limit: int = ANSWER_MOST
    ) -> Response:
        """The answer, whatever its status; redirects are not followed.

        Raises:
          BrokerError: no answer in time, or no whole one.
        """
        try:
            return await self.http.request(
                method,
                self.url.rstrip("/") + path,
                json=body,
                headers=self._headers(),
                timeout=self.timeout,
                limit=limit,
            )
        except Unreachable as error:
            raise unreachable(str(error)) from None
        except TimedOut:
            raise timed_out() from None
        except HttpFailed as error:
            raise broken_off(str(error)) from None
        except TooLarge:
            raise malformed(
                f"the body is larger than {limit // 2**20} MB", orphan=method == "PUT"
            ) from None

    def _headers(self) -> Mapping[str, str]:
        headers = {
            "Accept": "application/json",
            "Authorization": basic_header(self.username, self.password),
            "X-Broker-API-Version": VERSION,
            "X-Broker-API-Request-Identity": self.ids.guid(),
            "X-Api-Info-Location": f"{self.api}/",
        }
        if self.user_guid:
            who = base64.b64encode(json.dumps({"user_id": self.user_guid}).encode()).decode()
            headers["X-Broker-API-Originating-Identity"] = f"cloudfoundry {who}"
        return headers


def _instance(guid: str) -> str:
    return f"/v2/service_instances/{quote(guid, safe='')}"


def _binding(instance: str, guid: str) -> str:
    return f"{_instance(instance)}/service_bindings/{quote(guid, safe='')}"
