"""The policy server's part: which apps may reach which others, as container networking has it.

Policies are kept and listed. Apps share the machine's network, or have none of it at all, so
there is nothing between them that a policy could open.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from quart import Response, request

from fake_controller.acting import Acting
from fake_controller.conditions import among
from fake_controller.errors import CloudError
from fake_controller.http.api import Api
from fake_controller.model import App, NetworkPolicy

PATH = "/networking/v1/external/policies"
MOST = 1000  # policies in one request


class Ports(msgspec.Struct):
    start: int
    end: int


class Source(msgspec.Struct):
    id: str


class Destination(msgspec.Struct):
    id: str
    protocol: Literal["tcp", "udp"]
    ports: Ports


class Policy(msgspec.Struct):
    source: Source
    destination: Destination


class Policies(msgspec.Struct):
    policies: list[Policy]


def routes(api: Api) -> None:
    """``/networking/v1/external/policies``."""

    @api.get(PATH)
    async def listed() -> Response:
        wanted = request.args.get("id")

        def look(acting: Acting) -> list[NetworkPolicy]:
            found = acting.tx.find(NetworkPolicy)
            if wanted is not None:
                ids = wanted.split(",")
                found = acting.tx.find(
                    NetworkPolicy, among("app_guid", ids) | among("destination_guid", ids)
                )
            return [one for one in found if acting.sees(App, one.app_guid)]

        shown = [_shown(one) for one in await api.read(look)]
        return api.json({"total_policies": len(shown), "policies": shown})

    @api.post(PATH, body=Policies)
    async def create(wanted: Policies) -> Response:
        def work(acting: Acting) -> None:
            for policy in _checked(acting, wanted):
                if not _find(acting, policy):
                    acting.tx.new(NetworkPolicy, **_fields(policy))

        await api.write(work)
        return api.json({})

    @api.post(f"{PATH}/delete", body=Policies)
    async def delete(wanted: Policies) -> Response:
        def work(acting: Acting) -> None:
            for policy in _checked(acting, wanted):
                for found in _find(acting, policy):
                    acting.tx.delete(found)

        await api.write(work)
        return api.json({})


def _checked(acting: Acting, wanted: Policies) -> list[Policy]:
    if not 0 < len(wanted.policies) <= MOST:
        raise _refused(f"policies must be between 1 and {MOST}")
    for policy in wanted.policies:
        ports = policy.destination.ports
        if not 1 <= ports.start <= ports.end <= 65535:
            raise _refused(f"invalid port range {ports.start}-{ports.end}, must be 1-65535")
        for guid in (policy.source.id, policy.destination.id):
            if acting.sees(App, guid) is None:
                raise _refused(f"app {guid} is not there, or not yours to see", status=403)
            acting.change(App, guid)
    return wanted.policies


def _find(acting: Acting, policy: Policy) -> list[NetworkPolicy]:
    return acting.tx.find(NetworkPolicy, **_fields(policy))


def _fields(policy: Policy) -> dict[str, Any]:
    return {
        "app_guid": policy.source.id,
        "destination_guid": policy.destination.id,
        "protocol": policy.destination.protocol,
        "first_port": policy.destination.ports.start,
        "last_port": policy.destination.ports.end,
    }


def _shown(record: NetworkPolicy) -> dict[str, Any]:
    ports = {"start": record.first_port, "end": record.last_port}
    protocol = record.protocol
    return {
        "source": {"id": record.app_guid},
        "destination": {"id": record.destination_guid, "protocol": protocol, "ports": ports},
    }


def _refused(why: str, *, status: int = 400) -> CloudError:
    return CloudError(status, 10008, "CF-UnprocessableEntity", f"validate policies: {why}")
