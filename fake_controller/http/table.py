"""All routes of the controller on one app."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from quart import Response
from quart_trio import QuartTrio

from appliance.kernel.http.app import make_app
from fake_controller.controller import Controller
from fake_controller.errors import not_authenticated, present_error, unknown_request
from fake_controller.http import (
    appliance,
    apps,
    audit_events,
    buildpack_bytes,
    buildpacks,
    builds,
    bulk,
    deployments,
    destinations,
    domain_sharing,
    domains,
    droplet_bytes,
    droplets,
    environment,
    environment_groups,
    feature_flags,
    features,
    info,
    instances,
    isolation_assigning,
    isolation_segments,
    jobs,
    log_cache,
    log_stream,
    manifests,
    network_policies,
    oauth_clients,
    openapi,
    organization_quotas,
    organizations,
    package_bytes,
    packages,
    passcode,
    processes,
    revisions,
    roles,
    root,
    routes,
    scim_groups,
    scim_users,
    security_groups,
    service_brokers,
    service_credential_bindings,
    service_instances,
    service_offerings,
    service_plan_visibility,
    service_plans,
    service_route_bindings,
    shared_spaces,
    sidecars,
    space_quotas,
    spaces,
    ssh,
    stacks,
    staging,
    tasks,
    token_checks,
    uaa,
    usage_events,
    users,
)
from fake_controller.http.api import Api
from fake_controller.workers import Workers

#: One module for each resource; what they serve is told in COVERAGE.md.
RESOURCES = (
    root,
    info,
    uaa,
    ssh,
    passcode,
    token_checks,
    oauth_clients,
    scim_users,
    scim_groups,
    organization_quotas,
    organizations,
    space_quotas,
    spaces,
    users,
    roles,
    domain_sharing,
    domains,
    apps,
    environment,
    environment_groups,
    feature_flags,
    features,
    processes,
    instances,
    sidecars,
    packages,
    package_bytes,
    droplets,
    droplet_bytes,
    buildpacks,
    buildpack_bytes,
    stacks,
    builds,
    deployments,
    revisions,
    tasks,
    jobs,
    routes,
    service_brokers,
    service_offerings,
    service_plans,
    service_plan_visibility,
    service_instances,
    shared_spaces,
    service_credential_bindings,
    service_route_bindings,
    destinations,
    manifests,
    log_cache,
    log_stream,
    staging,
    audit_events,
    usage_events,
    isolation_assigning,
    isolation_segments,
    security_groups,
    network_policies,
    bulk,
    appliance,
    openapi,
)


def served(resource: ModuleType) -> list[tuple[str, str]]:
    """Method and path of everything that *resource* serves; for documents and tests."""
    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    nothing: Any = SimpleNamespace(
        config=None, runner=None, deployer=None, tasks=None, operator=None
    )
    api = Api(app, nothing, nothing)
    if hasattr(resource, "routes"):
        resource.routes(api)
    found = [rule.endpoint.split(" ", 1) for rule in app.url_map.iter_rules()]
    if hasattr(resource, "blobs"):
        found += [[blob.method, blob.path] for blob in resource.blobs(nothing)]
    return sorted((method, path) for method, path in found)


def make_routes(cc: Controller, workers: Workers) -> QuartTrio:
    """The app for all that is no blob route."""
    app = make_app(cc.kit, present_error=present_error)
    api = Api(app, cc, workers)
    for resource in RESOURCES:
        if hasattr(resource, "routes"):
            resource.routes(api)

    @app.errorhandler(404)
    @app.errorhandler(405)
    async def unknown(_: Exception) -> Response:
        from quart import request

        # Only who is logged in learns which paths there are.
        path = request.path
        if not request.headers.get("Authorization") and path.startswith("/v3"):
            error = not_authenticated()
        else:
            cc.unknown.note(request.method, path)
            cc.kit.trace.event("request.unknown", method=request.method, path=path)
            error = unknown_request(path)
        status, headers, body = present_error(error)
        return Response(body, status=status, headers=headers)

    return app
