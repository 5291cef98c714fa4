"""What clients besides the CLI do otherwise: Go's, Python's, Java's, and earlier CLIs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from .cli import BASIC, LOOKS, Cf
from .lists import LISTS
from .reads import App, Build, Deployment, Domain, Droplet, Organization, Package, Revision
from .steps import new_app, new_package, pushed, to


@pytest.mark.parametrize("path", LISTS)
def test_go_asks_every_list_for_a_page(cf: Cf, path: str) -> None:
    """Fifty of each, and follows ``next`` by counting the pages."""
    shown = cf.send("GET", f"{path}?page=1&per_page=50", status=200).json

    pages = shown["pagination"]
    assert len(shown["resources"]) == min(50, pages["total_results"])
    assert pages["total_pages"] >= 1


def test_go_builds_with_a_lifecycle_of_its_own(cf: Cf) -> None:
    """And looks for what became of the package afterwards."""
    app = new_app(cf)
    package = new_package(cf, app)
    lifecycle = {"type": "buildpack", "data": {"buildpacks": ["python_buildpack"], "stack": None}}
    body = {"package": {"guid": package.guid}, "lifecycle": lifecycle}

    build = cf.post("/v3/builds", body, Build)
    for _ in range(LOOKS):
        build = cf.get(f"/v3/builds/{build.guid}", Build)

    assert build.state == "STAGED"
    path = f"/v3/packages/{package.guid}/droplets?states=STAGED&page=1&per_page=50"
    droplets = cf.list(path, Droplet)
    assert [one.guid for one in droplets] == [build.droplet.guid if build.droplet else ""]


def test_go_looks_at_what_is_deployed_before_it_rolls(cf: Cf) -> None:
    """The revision that instances run."""
    app = pushed(cf)

    path = f"/v3/apps/{app.guid}/revisions/deployed?page=1&per_page=50"
    [revision] = cf.list(path, Revision)

    assert revision.droplet.guid == app.relationships.current_droplet.guid


def test_python_sends_an_empty_scope_and_a_capital_scheme(cf: Cf) -> None:
    """And takes a job's guid from the end of its address."""
    form = {"grant_type": "password", "username": "admin", "password": "admin", "scope": ""}
    headers = {"Authorization": BASIC, "Content-Type": "application/x-www-form-urlencoded"}
    token = cf.wire.send("POST", "/oauth/token", headers, urlencode(form).encode()).json
    login = {"Authorization": f"Bearer {token['access_token']}"}
    app = new_app(cf)

    gone = cf.wire.send("DELETE", f"/v3/apps/{app.guid}", login, b"")

    guid = gone.location.rpartition("/")[2]
    job = cf.wire.send("GET", f"/v3/jobs/{guid}", login, b"").json
    assert (job["guid"], job["operation"]) == (guid, "app.delete")


def test_python_makes_a_method_of_each_link(cf: Cf) -> None:
    """``app.space()``: each leads somewhere."""
    app = pushed(cf)
    links = cf.send("GET", f"/v3/apps/{app.guid}", status=200).json["links"]

    assert {"space", "processes", "packages", "current_droplet", "droplets"} <= links.keys()
    for name, link in links.items():
        if link.get("method", "GET") == "GET":
            assert cf.send("GET", link["href"]).status == 200, name


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v3/apps?names=a&space_guids=SPACE", App),
        ("/v3/organizations?names=NAME", Organization),
        ("/v3/domains?names=apps.localhost", Domain),
        ("/v3/packages?app_guids=APP&order_by=-created_at", Package),
    ],
)
def test_earlier_clis_ask_for_no_page(cf: Cf, path: str, kind: Any) -> None:
    """The look-ups of 8.0, without ``page`` and ``per_page``."""
    app = pushed(cf, start=False)
    path = path.replace("SPACE", cf.space).replace("NAME", cf.name).replace("APP", app.guid)

    assert cf.one(path, kind).guid


@pytest.mark.parametrize("more", [{}, {"strategy": "rolling"}])
def test_earlier_clis_name_no_strategy(cf: Cf, more: dict[str, str]) -> None:
    """Rolling is meant."""
    app = pushed(cf)
    body = {"relationships": {"app": to(app.guid)}} | more

    made = cf.post("/v3/deployments", body, Deployment)

    assert (made.strategy, made.options.max_in_flight) == ("rolling", 1)


#: Java's value classes refuse null where a value is said to be there.
NEVER_NULL = ("guid", "created_at", "updated_at", "links", "relationships", "name", "metadata")


@pytest.mark.parametrize("path", [path for path in LISTS if path != "/v3/feature_flags"])
def test_java_finds_what_must_be_there(cf: Cf, path: str) -> None:
    """In whatever the installation has by now."""
    pushed(cf, start=False)

    for resource in cf.send("GET", path, status=200).json["resources"]:
        nulls = [key for key in NEVER_NULL if key in resource and resource[key] is None]
        if path != "/v3/service_credential_bindings":  # those of apps need no name
            assert nulls == [], resource
        assert resource["guid"]
        assert resource["links"]["self"]["href"].startswith(cf.base)
