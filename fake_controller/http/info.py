"""What clients may ask without a token, besides the root document."""

from __future__ import annotations

from quart import Response

from fake_controller.access import auditors
from fake_controller.acting import Acting
from fake_controller.conditions import ALL
from fake_controller.consumption import usage_of
from fake_controller.errors import not_authorized
from fake_controller.http.api import Api
from fake_controller.present.quotas import usage_summary

RESOURCES = (
    *("app_usage_events", "apps", "audit_events", "buildpacks", "builds", "deployments"),
    *("domains", "droplets", "environment_variable_groups", "feature_flags", "info"),
    *("isolation_segments", "organization_quotas", "organizations", "packages", "processes"),
    *("resource_matches", "roles", "routes", "security_groups", "service_brokers"),
    *("service_credential_bindings", "service_instances", "service_offerings"),
    *("service_plans", "service_route_bindings", "service_usage_events", "space_quotas"),
    *("spaces", "stacks", "tasks", "users"),
)


def routes(api: Api) -> None:
    """``/v3``, ``/v3/info``, log-cache's own info, and what is used in all."""

    @api.get("/v3", public=True)
    @api.get("/v3/", public=True)
    async def v3() -> Response:
        base = api.base
        links = {name: {"href": f"{base}/v3/{name}"} for name in RESOURCES}
        return api.json({"links": {"self": {"href": f"{base}/v3"}} | links})

    @api.get("/v3/info", public=True)
    async def info() -> Response:
        return api.json(
            {
                "build": "",
                "cli_version": {"minimum": "", "recommended": ""},
                "custom": {},
                "description": "Cloud Foundry in one Python process",
                "name": "appliance",
                "version": 0,
                "osbapi_version": "2.15",
                "links": {"self": {"href": f"{api.base}/v3/info"}, "support": {"href": ""}},
            }
        )

    @api.get("/v3/info/usage_summary")
    async def usage() -> Response:
        def look(acting: Acting) -> dict[str, int]:
            if auditors(acting.access) != ALL:
                raise not_authorized()
            return usage_summary(usage_of(acting.tx, None))

        own = f"{api.base}/v3/info/usage_summary"
        shown = await api.read(look)
        return api.json({"usage_summary": shown, "links": {"self": {"href": own}}})

    @api.get("/api/v1/info", public=True)
    async def log_cache_info() -> Response:
        return api.json({"version": "2.11.4", "vm_uptime": "100"})
