"""The features of apps and of spaces: the same routes for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Response

from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import missing, unprocessable
from fake_controller.features import OF_APPS, OF_SPACES, Feature, enabled, exclude_each_other
from fake_controller.http.api import Api
from fake_controller.model import App, Space

#: By more people than those who push.
SWITCHED_BY = {"revisions": changed_in_space("space_guid", SUPPORTERS)}


class Switch(msgspec.Struct):
    enabled: bool


def routes(api: Api) -> None:
    """``/v3/apps/:guid/features`` and ``/v3/spaces/:guid/features``."""
    _of(api, App, OF_APPS)
    _of(api, Space, OF_SPACES)


def _of(api: Api, kind: type[App] | type[Space], table: Mapping[str, Feature]) -> None:
    path = f"/v3/{kind.table}/<guid>/features"

    @api.get(path)
    async def features(guid: str) -> Response:
        owner = await api.read(lambda acting: acting.see(kind, guid))
        return api.json(api.page([_shown(owner, table, name) for name in table]))

    @api.get(f"{path}/<name>")
    async def feature(guid: str, name: str) -> Response:
        owner = await api.read(lambda acting: acting.see(kind, guid))
        return api.json(_shown(owner, table, name))

    @api.patch(f"{path}/<name>", body=Switch)
    async def switch(guid: str, name: str, wanted: Switch) -> Response:
        def work(acting: Acting) -> App | Space:
            if name not in table:
                acting.see(kind, guid)
                raise missing("Feature")
            owner = acting.change(kind, guid, rule=SWITCHED_BY.get(name))
            features = owner.features | {name: wanted.enabled}
            if wrong := exclude_each_other(features):
                raise unprocessable(wrong)
            return acting.tx.change(owner, features=features)

        return api.json(_shown(await api.write(work), table, name))


def _shown(owner: App | Space, table: Mapping[str, Feature], name: str) -> dict[str, Any]:
    if name not in table:
        raise missing("Feature")
    return {
        "name": name,
        "description": table[name].description,
        "enabled": enabled(table, owner.features, name),
    }
