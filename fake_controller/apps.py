"""Making an app: for the API, and for a manifest that names one which is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.config import ControllerConfig
from fake_controller.acting import Acting
from fake_controller.buildpacks import DEFAULT_STACK, check_lifecycle
from fake_controller.errors import not_unique, unprocessable
from fake_controller.events import HIDDEN
from fake_controller.model import App, Space
from fake_controller.processes import new_process
from fake_controller.store import Tx


def create_app(
    acting: Acting,
    space: Space,
    config: ControllerConfig,
    *,
    name: str,
    buildpacks: tuple[str, ...] = (),
    stack: str | None = None,
    environment: Mapping[str, str] | None = None,
    labels: Mapping[str, Any] | None = None,
) -> App:
    """A new app in *space*, which *acting* may change, and its web process.

    Raises:
      CloudError: 422, the name is blank or taken, or buildpacks or stack are not there.
    """
    tx = acting.tx
    check_name(tx, name, space.guid, new=True)
    check_lifecycle(tx, buildpacks, stack or DEFAULT_STACK)
    app = tx.new(
        App,
        name=name,
        space_guid=space.guid,
        buildpacks=buildpacks,
        stack=stack or DEFAULT_STACK,
        environment=dict(environment or {}),
        **(labels or {}),
    )
    new_process(tx, app, "web", config, acting.actor)
    request = {"name": name, "relationships": {"space": {"data": {"guid": space.guid}}}}
    hidden = {"environment_variables": HIDDEN} if environment else {}
    acting.audit("audit.app.create", app, {"request": request | hidden})
    return app


def check_name(tx: Tx, name: str, space: str, *, new: bool = False) -> None:
    """App names are unique in their space, and not blank.

    Raises:
      CloudError: 422; that another app has it is an error of its own where the app is *new*.
    """
    if not name.strip():
        raise unprocessable("Name must not be blank")
    if tx.first(App, space_guid=space, name=name):
        text = f"App with the name '{name}' already exists."
        raise not_unique(text) if new else unprocessable(text)
