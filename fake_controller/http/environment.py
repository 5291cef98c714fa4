"""What an app finds in its environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from quart import Response

from appliance.kernel.vcap import services_by_label
from fake_controller.access import secrets_in_space
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.events import HIDDEN
from fake_controller.features import services_as
from fake_controller.http.api import Api
from fake_controller.http.relations import merged
from fake_controller.model import App, Process
from fake_controller.running import desired, vcap_application
from fake_controller.services.bound import bound_services
from fake_controller.surroundings import group

BINDINGS = "/home/vcap/service-bindings"
RESERVED = ("VCAP_", "VMC_")
READABLE = secrets_in_space("space_guid")


class Variables(msgspec.Struct):
    var: dict[str, str | None]


def routes(api: Api) -> None:
    """``/v3/apps/:guid/environment_variables`` and ``/env``."""
    cc = api.cc

    @api.get("/v3/apps/<guid>/environment_variables")
    async def variables(guid: str) -> Response:
        return api.json(_shown(api, await api.read(lambda acting: _readable(acting, guid))))

    @api.patch("/v3/apps/<guid>/environment_variables", body=Variables)
    async def set_variables(guid: str, wanted: Variables) -> Response:
        check_variables(wanted.var)

        def work(acting: Acting) -> App:
            app = acting.change(App, guid)
            acting.audit(
                "audit.app.update",
                app,
                {"request": {"environment_variables": HIDDEN}},
            )
            return acting.tx.change(app, environment=merged(app.environment, wanted.var))

        app = await api.write(work)
        cc.log(guid, f"Updated app with guid {guid}")
        return api.json(_shown(api, app))

    @api.get("/v3/apps/<guid>/env")
    async def env(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, Any]:
            app = _readable(acting, guid)
            acting.audit("audit.app.environment.show", app)
            services = system_variables(app, bound_services(acting.tx, guid))
            web = acting.tx.first(Process, app_guid=guid, type="web")
            application = vcap_application(desired(acting.tx, web), cc) if web else {}
            return {
                "staging_env_json": group(acting.tx, "staging"),
                "running_env_json": group(acting.tx, "running"),
                "environment_variables": app.environment,
                "system_env_json": services,
                "application_env_json": {"VCAP_APPLICATION": application},
            }

        return api.json(await api.write(look))


def system_variables(app: App, services: list[dict[str, Any]]) -> dict[str, Any]:
    """What tells *app* of its services: all of it, or where it finds that."""
    ways = {
        "file": {"VCAP_SERVICES_FILE_PATH": f"{BINDINGS}/vcap_services"},
        "folders": {"SERVICE_BINDING_ROOT": BINDINGS},
    }
    return ways.get(services_as(app.features), {"VCAP_SERVICES": services_by_label(services)})


def _readable(acting: Acting, guid: str) -> App:
    """The app, whose variables they may see."""
    acting.need_enabled("env_var_visibility")
    app = acting.change(App, guid, rule=READABLE)
    acting.need_enabled("space_developer_env_var_visibility")
    return app


def check_variables(names: Iterable[str]) -> None:
    """The platform's own names cannot be set."""
    for name in names:
        if name.startswith(RESERVED):
            raise unprocessable(f"Environment variables cannot start with {name.split('_', 1)[0]}_")
        if name == "PORT":
            raise unprocessable("Environment variables cannot set PORT")


def _shown(api: Api, app: App) -> dict[str, Any]:
    own = f"{api.base}/v3/apps/{app.guid}"
    links = {"self": {"href": f"{own}/environment_variables"}, "app": {"href": own}}
    return {"var": app.environment, "links": links}
