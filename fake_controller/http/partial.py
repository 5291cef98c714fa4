"""Endpoints that exist and lack something, each with what it lacks. Pure.

COVERAGE.md shows these as partial and every other endpoint with a route as done. Take a line
out when it is no longer true; a test refuses lines about endpoints that have no route.
"""

from __future__ import annotations

_LIST = "`include`, `label_selector`, `created_ats` and `updated_ats` are ignored"

#: METHOD PATH as in the published documentation: what is missing.
PARTIAL: dict[str, str] = {
    **dict.fromkeys(
        (
            "GET /v3/apps",
            "GET /v3/apps/:guid/builds",
            "GET /v3/apps/:guid/droplets",
            "GET /v3/apps/:guid/packages",
            "GET /v3/apps/:guid/routes",
            "GET /v3/builds",
            "GET /v3/deployments",
            "GET /v3/domains",
            "GET /v3/droplets",
            "GET /v3/organizations",
            "GET /v3/packages",
            "GET /v3/packages/:guid/droplets",
            "GET /v3/processes",
            "GET /v3/routes",
            "GET /v3/spaces",
            "GET /v3/users",
        ),
        _LIST,
    ),
    "GET /v3/apps/:guid": "`include` is ignored",
    "GET /v3/organizations/:guid/domains": "lists the domains of every organization",
    "GET /v3/processes/:guid/sidecars": "always empty: there are no sidecars",
    "GET /v3/routes/:guid": "`include` is ignored",
    "GET /v3/spaces/:guid": "`include` is ignored",
    "POST /v3/deployments": "`strategy` canary is refused; `revision` is ignored",
    "POST /v3/domains": "`router_group` and shared organizations are ignored",
    "POST /v3/organizations": "`metadata` is ignored",
    "POST /v3/packages": "copies by `source_guid` and Docker packages are not made",
    "POST /v3/routes": "TCP routes (`port`) and `metadata` are ignored",
    "POST /v3/spaces": "`metadata` is ignored",
}
