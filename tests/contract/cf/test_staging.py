"""Packages, builds and droplets."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import pytest
import trio

from .cli import Cf, Part
from .installation import Installation
from .reads import App, Build, Droplet, Package, Process
from .steps import (
    built,
    look,
    make_current,
    new_app,
    new_droplet,
    new_package,
    pushed,
    started,
    to,
    zipped,
)


def test_packages_and_droplets(cf: Cf) -> None:
    """``cf packages`` and ``cf droplets``: the newest first."""
    app = pushed(cf)
    second = new_package(cf, app, "print(2)")
    look(cf, "a")
    query = f"app_guids={app.guid}&order_by=-created_at"

    packages = cf.list(f"/v3/packages?{query}", Package)
    assert {package.guid for package in packages} >= {second.guid}
    assert {package.relationships.app.guid for package in packages} == {app.guid}
    [droplet] = cf.list(f"/v3/droplets?{query}", Droplet)
    assert cf.get(f"/v3/apps/{app.guid}/droplets/current", Droplet).guid == droplet.guid
    assert (droplet.state, droplet.relationships.app.guid) == ("STAGED", app.guid)


def test_an_unstaged_app_has_no_droplet(cf: Cf) -> None:
    """That is the normal state of a new app, and told in exactly these words."""
    path = f"/v3/apps/{new_app(cf).guid}/droplets/current"

    assert cf.refused("GET", path, status=404) == "Droplet not found"


def test_create_package_sends_only_bits(cf: Cf) -> None:
    """And looks at the package once more, whatever the upload answered."""
    app = new_app(cf)
    body = {"type": "bits", "relationships": {"app": to(app.guid)}}
    package = cf.post("/v3/packages", body, Package)

    bits = Part("bits", zipped({"app.py": "print()"}), file="cf-cli-123.zip")
    answer = cf.form(f"/v3/packages/{package.guid}/upload", bits)

    assert (answer.status, answer.location) == (200, "")
    assert answer.json["data"]["checksum"]["type"] == "sha256"
    assert cf.get(f"/v3/packages/{package.guid}", Package).state == "READY"


def test_a_package_is_uploaded_once(cf: Cf) -> None:
    """The second time has its own code."""
    package = new_package(cf, new_app(cf))

    bits = Part("bits", zipped({"app.py": "print()"}), file="package.zip")
    answer = cf.form(f"/v3/packages/{package.guid}/upload", bits)

    [error] = answer.json["errors"]
    assert (answer.status, error["code"]) == (400, 150004)
    assert error["title"] == "CF-PackageBitsAlreadyUploaded"


def test_matched_files_need_no_bits(cf: Cf) -> None:
    """Entries come back as they were sent; a package may consist of nothing else."""
    app, text = new_app(cf), f"print('{cf.name}')"
    new_package(cf, app, text)
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    known = {"path": "app.py", "mode": "644", "checksum": {"value": sha1},
             "size_in_bytes": len(text)}  # fmt: skip
    unknown = known | {"path": "b.py", "checksum": {"value": "0" * 40}}

    answer = cf.send("POST", "/v3/resource_matches", {"resources": [known, unknown]})
    assert answer.status in (200, 201)
    assert answer.json["resources"] == [known]

    package = cf.post("/v3/packages", {"type": "bits", "relationships": {"app": to(app.guid)}},
                      Package)  # fmt: skip
    part = Part("resources", json.dumps([known]).encode())
    answer = cf.form(f"/v3/packages/{package.guid}/upload", part)
    assert (answer.status, answer.json["state"]) == (200, "READY")


def test_stage_package_and_set_droplet(cf: Cf) -> None:
    """The package is looked up among the app's; the build names its droplet."""
    app = new_app(cf)
    package = new_package(cf, app)
    query = f"app_guids={app.guid}&guids={package.guid}&page=1&per_page=1"
    assert cf.one(f"/v3/packages?{query}", Package).state == "READY"

    build = built(cf, package)
    assert (build.state, build.package.guid, build.error) == ("STAGED", package.guid, None)
    assert build.droplet is not None
    droplet = cf.get(f"/v3/droplets/{build.droplet.guid}", Droplet)
    make_current(cf, app, droplet)
    assert look(cf, "a").relationships.current_droplet.guid == droplet.guid


def test_a_build_that_fails_says_why(cf: Cf, installation: Installation) -> None:
    """The CLI looks for "NoAppDetectedError" in it."""
    installation.stager.error = "NoAppDetectedError - An app was not successfully detected"

    build = built(cf, new_package(cf, new_app(cf)))

    assert build.state == "FAILED"
    assert build.error is not None
    assert "NoAppDetectedError" in build.error
    assert build.droplet is None


def test_only_one_build_at_a_time(cf: Cf, installation: Installation) -> None:
    """The second is refused while the first goes on."""
    package = new_package(cf, new_app(cf))
    installation.stager.hold = hold = trio.Event()
    try:
        cf.post("/v3/builds", {"package": {"guid": package.guid}}, Build)
        answer = cf.send("POST", "/v3/builds", {"package": {"guid": package.guid}}, status=422)
    finally:
        installation.run(hold.set)
        installation.stager.hold = None

    [error] = answer.json["errors"]
    assert (error["code"], error["title"]) == (170017, "CF-StagingInProgress")
    assert error["detail"] == "Only one build can be STAGING at a time per application."


def test_a_package_that_is_not_ready_is_not_staged(cf: Cf) -> None:
    """In the words that the CLI knows."""
    app = new_app(cf)
    body = {"type": "bits", "relationships": {"app": to(app.guid)}}
    package = cf.post("/v3/packages", body, Package)

    detail = cf.refused("POST", "/v3/builds", {"package": {"guid": package.guid}}, status=400)
    assert detail == "Bad request: Cannot stage package whose state is not ready."


def test_copy_source(cf: Cf) -> None:
    """The copy is READY when it is first looked at, and is staged as any other."""
    one, two = pushed(cf, "one"), new_app(cf, "two")
    query = f"app_guids={one.guid}&order_by=-created_at&page=1&per_page=1&states=READY"
    source = cf.one(f"/v3/packages?{query}", Package)

    path = f"/v3/packages?source_guid={source.guid}"
    copy = cf.post(path, {"relationships": {"app": to(two.guid)}}, Package)
    copy = cf.get(f"/v3/packages/{copy.guid}", Package)

    assert (copy.state, copy.relationships.app.guid) == ("READY", two.guid)
    build = built(cf, copy)
    assert build.droplet is not None
    make_current(cf, two, cf.get(f"/v3/droplets/{build.droplet.guid}", Droplet))
    started(cf, two)


def test_download_droplet(cf: Cf) -> None:
    """Bytes, though JSON is what cf says that it accepts."""
    app = pushed(cf)
    droplet = cf.get(f"/v3/apps/{app.guid}/droplets/current", Droplet)
    query = f"app_guids={app.guid}&guids={droplet.guid}&page=1&per_page=1"
    assert cf.one(f"/v3/droplets?{query}", Droplet).guid == droplet.guid

    answer = cf.send("GET", f"/v3/droplets/{droplet.guid}/download")

    assert answer.status == 200
    assert answer.body


def test_push_of_a_droplet(cf: Cf) -> None:
    """202 with the droplet as body and a job; it is uploaded once."""
    app = new_app(cf)
    droplet = cf.post("/v3/droplets", {"relationships": {"app": to(app.guid)}}, Droplet)
    assert droplet.state == "AWAITING_UPLOAD"
    path = f"/v3/droplets/{droplet.guid}"
    bits = Part("bits", gzip.compress(b"x"), file="own.tgz")

    answer = cf.form(f"{path}/upload", bits)
    assert answer.status == 202
    assert answer.json["guid"] == droplet.guid
    cf.done(answer, "droplet.upload")
    assert cf.get(path, Droplet).state == "STAGED"
    again = cf.form(f"{path}/upload", bits)
    assert (again.status, again.json["errors"][0]["detail"]) == (
        422,
        "Droplet may be uploaded only once. Create a new droplet to upload bits.",
    )
    make_current(cf, app, droplet)
    started(cf, app)


def test_delete_package_and_droplet(cf: Cf) -> None:
    """Each by a job."""
    app = new_app(cf)
    droplet = new_droplet(cf, app)
    [package] = cf.list(f"/v3/packages?app_guids={app.guid}", Package)

    cf.deleted(f"/v3/droplets/{droplet.guid}", "droplet.delete")
    cf.deleted(f"/v3/packages/{package.guid}", "package.delete")


CURRENT = "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."


def test_only_an_apps_own_droplet_can_be_current(cf: Cf) -> None:
    """Others, and those that are not staged, are refused."""
    one, two = new_app(cf, "one"), new_app(cf, "two")
    foreign = new_droplet(cf, two)
    waiting = cf.post("/v3/droplets", {"relationships": {"app": to(one.guid)}}, Droplet)
    path = f"/v3/apps/{one.guid}/relationships/current_droplet"

    for guid in (foreign.guid, "nothing"):
        assert cf.refused("PATCH", path, to(guid)) == CURRENT
    removed = "Current droplet cannot be removed. Replace it with a preferred droplet."
    assert cf.refused("PATCH", path, {"data": None}) == removed
    assert cf.refused("PATCH", path, to(waiting.guid))
    download = f"/v3/droplets/{waiting.guid}/download"
    assert cf.refused("GET", download) == "Only staged droplets can be downloaded."


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        (
            "/v3/packages",
            {"type": "bits", "relationships": {"app": to("nothing")}},
            422,
            "App is invalid. Ensure it exists and you have access to it.",
        ),
        (
            "/v3/builds",
            {"package": {"guid": "nothing"}},
            422,
            "Unable to use package. Ensure that the package exists and you have access to it.",
        ),
        (
            "/v3/apps",
            {"name": "d", "lifecycle": {"type": "docker", "data": {}}},
            403,
            "Feature Disabled: diego_docker",
        ),
    ],
)
def test_refusals_have_known_words(
    cf: Cf, path: str, body: dict[str, Any], status: int, detail: str
) -> None:
    """The CLI shows them as they are."""
    if path == "/v3/apps":
        body = body | {"relationships": {"space": to(cf.space)}}

    assert cf.refused("POST", path, body, status=status) == detail


def test_a_docker_package_is_refused(cf: Cf) -> None:
    """The app has a buildpack."""
    app = new_app(cf)
    body = {"type": "docker", "relationships": {"app": to(app.guid)}, "data": {"image": "a/b"}}

    detail = cf.refused("POST", "/v3/packages", body)
    assert detail == "Cannot create Docker package for a buildpack app."


def test_a_droplet_makes_processes_of_its_types(cf: Cf) -> None:
    """``web`` has one instance, the others none."""
    app = new_app(cf)
    make_current(cf, app, new_droplet(cf, app))

    processes = cf.list(f"/v3/apps/{app.guid}/processes", Process)
    assert {one.type: one.instances for one in processes} == {"web": 1, "worker": 0}
    assert cf.get(f"/v3/apps/{app.guid}", App).state == "STOPPED"
