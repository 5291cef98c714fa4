"""Feature flags: what administrators can switch off for everybody else."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.flags import FIXED
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import FeatureFlag
from fake_controller.present.shape import timestamp

LONGEST = 250  # characters of a message


def _shown(record: FeatureFlag, base: str, _: None) -> dict[str, Any]:
    return {
        "name": record.name,
        "enabled": record.enabled,
        "updated_at": timestamp(record.updated_at) if record.switched else None,
        "custom_error_message": record.custom_error_message,
        "links": {"self": {"href": f"{base}/v3/feature_flags/{record.name}"}},
    }


FLAGS = Listing(kind=FeatureFlag, order="name", orders=("name",), present=_shown)


class Switch(msgspec.Struct):
    enabled: bool | None = None
    custom_error_message: str | msgspec.UnsetType | None = msgspec.UNSET


def routes(api: Api) -> None:
    """``/v3/feature_flags``."""
    api.lists("/v3/feature_flags", FLAGS)
    api.shows("/v3/feature_flags/<guid>", FLAGS)

    @api.patch("/v3/feature_flags/<guid>", body=Switch)
    async def switch(guid: str, wanted: Switch) -> Response:
        await api.write(lambda acting: _switch(acting, guid, wanted))
        return await api.show(FLAGS, guid)


def _switch(acting: Acting, guid: str, wanted: Switch) -> None:
    flag = acting.change(FeatureFlag, guid)
    values: dict[str, Any] = {"switched": True}
    if wanted.enabled is not None:
        if wanted.enabled and flag.name in FIXED:
            raise unprocessable(f"{FIXED[flag.name]} {flag.name} stays off.")
        values["enabled"] = wanted.enabled
    message = wanted.custom_error_message
    if message is not msgspec.UNSET:
        if message is not None and not 1 <= len(message) <= LONGEST:
            raise unprocessable(
                f"Custom error message is too {'long' if message else 'short'} "
                f"({'maximum' if message else 'minimum'} is {LONGEST if message else 1} characters)"
            )
        values["custom_error_message"] = message
    acting.tx.change(flag, **values)
