"""Steps that many commands take."""

from __future__ import annotations

import io
import zipfile

from .cli import LOOKS, Cf, Part
from .reads import (
    App,
    Build,
    Deployment,
    Destinations,
    Domain,
    Droplet,
    Organization,
    Package,
    Process,
    Route,
    ServiceInstance,
    Sidecar,
    Space,
    Stats,
    ToOne,
)

DOMAIN = "apps.localhost"


def to(guid: str) -> dict[str, dict[str, str]]:
    """A relationship as bodies have it."""
    return {"data": {"guid": guid}}


# What commands look up first.


def look(cf: Cf, name: str) -> App:
    """The app of that name in the targeted space."""
    return cf.one(f"/v3/apps?names={name}&space_guids={cf.space}", App)


def look_once(cf: Cf, name: str) -> App:
    """The same, as newer commands do it."""
    return cf.one(f"/v3/apps?names={name}&page=1&per_page=1&space_guids={cf.space}", App)


def organization(cf: Cf, name: str) -> Organization:
    """The organization of that name."""
    return cf.one(f"/v3/organizations?names={name}&page=1&per_page=1", Organization)


def space(cf: Cf, name: str = "s") -> Space:
    """The space of that name in the targeted organization."""
    query = f"names={name}&organization_guids={cf.org}&page=1&per_page=1"
    return cf.one(f"/v3/spaces?{query}", Space)


def domain(cf: Cf, name: str = DOMAIN) -> Domain:
    """The domain of that name."""
    return cf.one(f"/v3/domains?names={name}&page=1&per_page=1", Domain)


def instance(cf: Cf, name: str) -> ServiceInstance:
    """The service instance of that name in the targeted space."""
    query = f"names={name}&page=1&per_page=1&space_guids={cf.space}"
    return cf.one(f"/v3/service_instances?{query}", ServiceInstance)


def routes_of(cf: Cf, host: str, path: str = "") -> list[Route]:
    """The routes of that host and path; without a path, those that have none."""
    query = f"domain_guids={domain(cf).guid}&hosts={host}&page=1&paths={path}&per_page=1"
    return cf.list(f"/v3/routes?{query}", Route)


def summary(cf: Cf, name: str) -> App:
    """What ``cf app`` asks for, and other commands at their end."""
    app = look(cf, name)
    own = f"/v3/apps/{app.guid}"
    for process in cf.list(f"{own}/processes", Process):
        cf.list(f"/v3/processes/{process.guid}/sidecars", Sidecar)
        cf.get(f"/v3/processes/{process.guid}/stats", Stats)
    for route in cf.list(f"{own}/routes", Route):
        assert route.destinations
    current = cf.send("GET", f"{own}/droplets/current")
    assert current.status == 200 or current.json["errors"][0]["detail"] == "Droplet not found"
    active_deployments(cf, app)
    return app


def active_deployments(cf: Cf, app: App) -> list[Deployment]:
    """The deployment of *app* that goes on, if there is one."""
    query = "order_by=-created_at&page=1&per_page=1&status_values=ACTIVE"
    return cf.list(f"/v3/deployments?app_guids={app.guid}&{query}", Deployment)


# What commands wait for.


def running(cf: Cf, app: App) -> None:
    """Poll each process until one instance runs, or none is wanted."""
    for process in cf.list(f"/v3/apps/{app.guid}/processes", Process):
        for _ in range(LOOKS):
            stats = cf.get(f"/v3/processes/{process.guid}/stats", Stats).resources
            states = [one.state for one in stats]
            if not states or "RUNNING" in states:
                break
        else:
            raise AssertionError(f"{process.type} has {states}")


def built(cf: Cf, package: Package) -> Build:
    """A build of *package*, ended."""
    build = cf.post("/v3/builds", {"package": {"guid": package.guid}}, Build)
    for _ in range(LOOKS):
        build = cf.get(f"/v3/builds/{build.guid}", Build)
        if build.state != "STAGING":
            return build
    raise AssertionError(f"{build} has not ended")


def started(cf: Cf, app: App) -> None:
    """``actions/start``, and until it runs."""
    assert cf.post(f"/v3/apps/{app.guid}/actions/start", None, App, 200).state == "STARTED"
    running(cf, app)


# What there must be before a command.


def new_app(cf: Cf, name: str = "a") -> App:
    """``cf create-app``."""
    body = {"name": name, "relationships": {"space": to(cf.space)}}
    return cf.post("/v3/apps", body, App)


def new_package(cf: Cf, app: App, text: str = "print()") -> Package:
    """A package that is READY when its upload is answered."""
    body = {"type": "bits", "relationships": {"app": to(app.guid)}}
    package = cf.post("/v3/packages", body, Package)
    assert package.state == "AWAITING_UPLOAD"
    bits = Part("bits", zipped({"app.py": text}), file="package.zip")
    answer = cf.form(f"/v3/packages/{package.guid}/upload", Part("resources", b"[]"), bits)
    assert (answer.status, answer.json["state"], answer.location) == (200, "READY", "")
    return package


def new_droplet(cf: Cf, app: App) -> Droplet:
    """A droplet of *app*, staged."""
    build = built(cf, new_package(cf, app))
    assert build.droplet is not None, build.error
    return cf.get(f"/v3/droplets/{build.droplet.guid}", Droplet)


def make_current(cf: Cf, app: App, droplet: Droplet) -> None:
    """The droplet that *app* runs from its next start."""
    path = f"/v3/apps/{app.guid}/relationships/current_droplet"
    assert cf.patch(path, to(droplet.guid), ToOne).guid == droplet.guid


def pushed(cf: Cf, name: str = "a", *, start: bool = True) -> App:
    """An app that has a droplet, and runs."""
    app = new_app(cf, name)
    make_current(cf, app, new_droplet(cf, app))
    if start:
        started(cf, app)
    return look(cf, name)


def new_route(cf: Cf, host: str, **more: object) -> Route:
    """``cf create-route``."""
    relations = {"domain": to(domain(cf).guid), "space": to(cf.space)}
    return cf.post("/v3/routes", {"host": host, "relationships": relations} | more, Route)


def mapped(cf: Cf, host: str, app: App) -> Route:
    """A new route that leads to *app*."""
    route = new_route(cf, host)
    body = {"destinations": [{"app": {"guid": app.guid}}]}
    path = f"/v3/routes/{route.guid}/destinations"
    cf.post(path, body, Destinations, 200)
    return route


def zipped(files: dict[str, str]) -> bytes:
    """*files* as the CLI zips them, with their modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, text)
    return buffer.getvalue()
