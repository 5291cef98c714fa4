"""A classic buildpack from its upload to an app that runs by it."""

from __future__ import annotations

from pathlib import Path

from tests.fake_controller.conftest import zipped
from tests.person import Person
from tests.stager.test_buildpacks import FULL

from .conftest import Desk


async def test_an_uploaded_buildpack_takes_the_apps_that_it_recognises(
    desk: Desk, tmp_path: Path
) -> None:
    """Uploaded by the API, found by detection, run on the DEA; then asked for by its name."""
    http = desk.running.kit.http
    person = Person(desk.running.endpoints.api, http)
    await person.login()
    made = await person.call("POST", "/v3/buildpacks", {"name": "hello_buildpack"})
    bits = tmp_path / "bits.zip"
    bits.write_bytes(zipped(FULL))
    answer = await http.upload_form(
        f"{desk.running.endpoints.api}/v3/buildpacks/{made['guid']}/upload",
        "bits",
        bits,
        filename="hello.zip",
        headers={"Authorization": f"bearer {person.token}"},
    )
    assert answer.status == 202, answer.body
    app = tmp_path / "app"
    app.mkdir()
    (app / "hello.txt").write_text("hello\n")
    (app / "index.html").write_text("what staticfile_buildpack would recognise")

    detected = await desk.cli("push", "found", app)
    named = await desk.cli("push", "named", app, "-b", "hello_buildpack")

    assert detected.status == 0, detected
    assert named.status == 0, named
    assert "Downloaded hello_buildpack (cached)" in named.out + named.err
    for host in ("found", "named"):
        assert (await desk.get(f"{host}.apps.localhost", "/hello.txt")).text == "hello\n"
    droplets = await person.call("GET", "/v3/droplets?order_by=created_at")
    told = [one["buildpacks"][0] for one in droplets["resources"]]
    assert [one["detect_output"] for one in told] == ["hello 1.0", None]
    assert {one["version"] for one in told} == {"1.0.3"}


async def test_an_app_that_nobody_recognises_fails_in_cloud_foundrys_words(
    desk: Desk, tmp_path: Path
) -> None:
    """Our own command tells more: what was tried, and what to do."""
    (tmp_path / "notes.txt").write_text("nothing to run")
    person = Person(desk.running.endpoints.api, desk.running.kit.http)
    await person.login()

    pushed = await desk.cli("push", "lost", tmp_path)

    assert pushed.status == 21, pushed
    assert "tried php, ruby, nodejs" in pushed.err
    [build] = (await person.call("GET", "/v3/builds"))["resources"]
    assert build["error"] == (
        "NoAppDetectedError - An app was not successfully detected by any available buildpack"
    )
