"""Endpoints that exist and lack something, each with what it lacks. Pure.

COVERAGE.md shows these as partial and every other endpoint with a route as done. Take a line
out when it is no longer true; a test refuses lines about endpoints that have no route.
"""

from __future__ import annotations

#: METHOD PATH as in the published documentation: what is missing.
PARTIAL: dict[str, str] = {
    "POST /v3/buildpacks": "cloud native ones (`lifecycle: cnb`) are refused",
    "POST /v3/domains": "`router_group` is refused",
    "POST /v3/packages": "Docker packages are not made",
    "POST /v3/routes": "TCP routes (`port`) are not made",
    "PATCH /v3/routes/:guid/destinations": "`weight` and ports but 8080 are refused",
    "PATCH /v3/routes/:guid/destinations/:destination_guid": "`protocol` http2 is refused",
    "POST /v3/routes/:guid/destinations": "`protocol` http2 and ports but 8080 are refused",
}
