"""Variables that all apps are given, while they run or while they are staged."""

from __future__ import annotations

from typing import Any

from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.errors import missing
from fake_controller.http.api import Api
from fake_controller.http.environment import Variables, check_variables
from fake_controller.http.relations import merged
from fake_controller.model import EnvironmentGroup
from fake_controller.surroundings import group

NAMES = ("running", "staging")


def routes(api: Api) -> None:
    """``/v3/environment_variable_groups``."""
    path = "/v3/environment_variable_groups/<name>"

    @api.get(path)
    async def show(name: str) -> Response:
        record = await api.read(lambda acting: acting.tx.get(EnvironmentGroup, _known(name)))
        return api.json(_shown(api, name, record))

    @api.patch(path, body=Variables)
    async def change(name: str, wanted: Variables) -> Response:
        check_variables(wanted.var)

        def work(acting: Acting) -> EnvironmentGroup:
            acting.must_be_admin()
            variables = merged(group(acting.tx, _known(name)), wanted.var)
            if record := acting.tx.get(EnvironmentGroup, name):
                return acting.tx.change(record, variables=variables)
            return acting.tx.new(EnvironmentGroup, guid=name, variables=variables)

        return api.json(_shown(api, name, await api.write(work)))


def _known(name: str) -> str:
    if name not in NAMES:
        raise missing("Environment variable group")
    return name


def _shown(api: Api, name: str, record: EnvironmentGroup | None) -> dict[str, Any]:
    return {
        "name": name,
        "var": record.variables if record else {},
        "updated_at": present.timestamp(record.updated_at) if record else None,
        "links": {"self": {"href": f"{api.base}/v3/environment_variable_groups/{name}"}},
    }
