"""Droplets and packages that no build made: uploaded, copied, and taken away."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import trio

from appliance.kernel.clock import Clock, Ids
from fake_controller.interrupted import close_interrupted
from fake_controller.model import Build, Droplet, Job, Package, Record
from fake_controller.store import Tx, open_store

from .conftest import Cloud, Dea, Stager
from .people import person

TGZ = gzip.compress(b"a tar, or so", mtime=0)


def of(app: str) -> dict[str, Any]:
    """A body that names *app*."""
    return {"relationships": {"app": {"data": {"guid": app}}}}


async def upload(
    cloud: Cloud, droplet: str, tmp_path: Path, data: bytes = TGZ, name: str = "droplet.tgz"
) -> Any:
    """Upload *data* as a droplet; the bare answer."""
    file = tmp_path / "bits"
    await trio.Path(file).write_bytes(data)
    return await cloud.kit.http.upload_form(
        f"{cloud.url}/v3/droplets/{droplet}/upload",
        "bits",
        file,
        filename=name,
        headers={"Authorization": f"bearer {cloud.token}"},
    )


async def uploaded(cloud: Cloud, app: str, tmp_path: Path) -> str:
    """The guid of a droplet of *app* with bytes."""
    made = await cloud.call("POST", "/v3/droplets", of(app), expect=201)
    answer = await upload(cloud, made["guid"], tmp_path)
    assert answer.status == 202, answer.body
    return str(made["guid"])


async def test_a_droplet_of_ones_own_runs(cloud: Cloud, dea: Dea, tmp_path: Path) -> None:
    """Its job is done at the first look; what it starts is for its own files to say."""
    app = await cloud.app()
    made = await cloud.call("POST", "/v3/droplets", of(app), expect=201)

    answer = await upload(cloud, made["guid"], tmp_path)
    job = await cloud.call("GET", answer.headers["location"], expect=200)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": made["guid"]}}, expect=200)
    await cloud.call("POST", f"/v3/apps/{app}/actions/restart", expect=200)
    await cloud.until_states(app, "RUNNING")

    assert (made["state"], made["process_types"]) == ("AWAITING_UPLOAD", {"web": ""})
    assert (answer.status, answer.json()["state"]) == (202, "STAGED")
    assert (job["operation"], job["state"]) == ("droplet.upload", "COMPLETE")
    assert dea.starts[0].command is None
    assert cloud.held == {f"/droplets/{app}/{dea.starts[0].sha1}": TGZ}


async def test_what_is_no_droplet_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    """By its name, by its first bytes; and a second one is, whatever it is."""
    made = await cloud.call("POST", "/v3/droplets", of(await cloud.app()), expect=201)
    for data, name, why in (
        (TGZ, "droplet.zip", "droplet.zip is not a tgz"),
        (b"PK\x03\x04", "droplet.tgz", "droplet.tgz is not a tgz"),
        (b"", "droplet.tar.gz", "droplet.tar.gz cannot be empty"),
    ):
        answer = await upload(cloud, made["guid"], tmp_path, data, name)
        assert answer.status == 422
        detail = answer.json()["errors"][0]["detail"]
        assert detail == f"Uploaded droplet file is invalid: {why}"

    assert (await upload(cloud, made["guid"], tmp_path)).status == 202
    again = await upload(cloud, made["guid"], tmp_path)

    assert again.json()["errors"][0]["detail"] == (
        "Droplet may be uploaded only once. Create a new droplet to upload bits."
    )


async def test_a_droplet_that_no_archiver_takes_may_be_uploaded_again(
    cloud: Cloud, tmp_path: Path
) -> None:
    """The job says why, and the droplet waits."""
    made = await cloud.call("POST", "/v3/droplets", of(await cloud.app()), expect=201)
    cloud.refuses = True

    answer = await upload(cloud, made["guid"], tmp_path)
    job = await cloud.call("GET", answer.headers["location"], expect=200)
    cloud.refuses = False

    assert job["state"] == "FAILED"
    assert job["errors"][0]["detail"] == "The archiver refused the droplet (507): full"
    assert (await upload(cloud, made["guid"], tmp_path)).json()["state"] == "STAGED"


async def test_developers_download_droplets_and_auditors_do_not(
    cloud: Cloud, tmp_path: Path
) -> None:
    """The bytes themselves, not an address that would open all others."""
    app = await cloud.app()
    droplet = f"/v3/droplets/{await uploaded(cloud, app, tmp_path)}/download"
    developer = await person(cloud, "dev", "space_developer")
    auditor = await person(cloud, "aud", "space_auditor")

    answer = await developer.raw("GET", droplet)

    assert (answer.status, answer.body) == (200, TGZ)
    await auditor.call("GET", droplet, expect=403)
    empty = await cloud.call("POST", "/v3/droplets", of(app), expect=201)
    refused = await cloud.raw("GET", f"/v3/droplets/{empty['guid']}/download")
    assert refused.json()["errors"][0]["detail"] == "Only staged droplets can be downloaded."


async def test_the_appliance_tells_which_archivers_have_a_droplet(
    cloud: Cloud, tmp_path: Path
) -> None:
    """Without what opens them."""
    droplet = await uploaded(cloud, await cloud.app(), tmp_path)

    answer = await cloud.call("GET", f"/_appliance/droplets/{droplet}/copies", expect=200)

    [copy] = answer["copies"]
    assert copy["size"] == len(TGZ)
    assert "@" not in copy["archiver"]


async def test_a_copied_droplet_is_the_other_apps_own(cloud: Cloud, tmp_path: Path) -> None:
    """It stays when the first one goes."""
    one, two = await cloud.app("one"), await cloud.app("two")
    source = await uploaded(cloud, one, tmp_path)

    copy = await cloud.call("POST", f"/v3/droplets?source_guid={source}", of(two), expect=201)
    await cloud.call("DELETE", f"/v3/droplets/{source}")

    assert (copy["state"], copy["relationships"]["app"]["data"]["guid"]) == ("STAGED", two)
    assert (await cloud.raw("GET", f"/v3/droplets/{copy['guid']}/download")).body == TGZ
    empty = await cloud.call("POST", "/v3/droplets", of(one), expect=201)
    refused = await cloud.raw("POST", f"/v3/droplets?source_guid={empty['guid']}", of(two))
    assert refused.json()["errors"][0]["detail"] == "source droplet is not staged"
    await cloud.call("POST", "/v3/droplets?source_guid=none", of(two), expect=404)


async def test_a_copied_package_builds_like_the_first(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """READY at once, with the same checksum; it stays when the first one goes."""
    one, two = await cloud.app("one"), await cloud.app("two")
    source = await cloud.package(one, {"app.py": "pass"}, tmp_path)
    first = await cloud.call("GET", f"/v3/packages/{source}", expect=200)

    copy = await cloud.call("POST", f"/v3/packages?source_guid={source}", of(two), expect=201)
    await cloud.call("DELETE", f"/v3/packages/{source}")

    assert (copy["state"], copy["data"]) == ("READY", first["data"])
    assert (await cloud.build(copy["guid"]))["state"] == "STAGED"
    assert stager.requests[0].app_id == two


async def test_a_package_is_copied_from_another_app_that_has_one(
    cloud: Cloud, tmp_path: Path
) -> None:
    """Not onto itself, and not before it has bits."""
    one, two = await cloud.app("one"), await cloud.app("two")
    source = await cloud.package(one, {"app.py": "pass"}, tmp_path)
    empty = (await cloud.call("POST", "/v3/packages", of(one), expect=201))["guid"]
    for guid, app, why in (
        (source, one, "Source and destination app cannot be the same"),
        (empty, two, "Source package has no bits to copy."),
    ):
        refused = await cloud.raw("POST", f"/v3/packages?source_guid={guid}", of(app))
        assert refused.status == 422
        assert refused.json()["errors"][0]["detail"] == why
    await cloud.call("POST", "/v3/packages?source_guid=none", of(two), expect=404)


async def test_who_sees_secrets_is_told(cloud: Cloud) -> None:
    """An auditor sees the app, and not what is in its environment."""
    path = f"/v3/apps/{await cloud.app()}/permissions"
    for asker, sensitive in ((cloud, True), (await person(cloud, "aud", "space_auditor"), False)):
        answer = await asker.call("GET", path, expect=200)
        assert answer == {"read_basic_data": True, "read_sensitive_data": sensitive}


async def test_a_droplet_in_use_is_not_deleted(cloud: Cloud, tmp_path: Path) -> None:
    """The app would not start again."""
    app = await cloud.app()
    droplet = await uploaded(cloud, app, tmp_path)
    current = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)

    refused = await cloud.raw("DELETE", f"/v3/droplets/{droplet}")

    assert refused.status == 422
    assert refused.json()["errors"][0]["detail"] == (
        f'The droplet is currently used by app with guid "{app}".'
    )


async def test_what_a_stop_interrupts_is_closed_at_the_next_start(tmp_path: Path) -> None:
    """Builds, copies and jobs fail; what was being uploaded may be uploaded again."""
    async with open_store(tmp_path / "db", Clock(), Ids()) as store:

        def interrupted(tx: Tx) -> list[tuple[type[Record], str]]:
            made: list[Record] = [
                tx.new(Build, app_guid="a", package_guid="p"),
                tx.new(Job, operation="space.apply_manifest"),
                tx.new(Package, app_guid="a", state="COPYING"),
                tx.new(Package, app_guid="a", state="PROCESSING_UPLOAD"),
                tx.new(Droplet, app_guid="a", state="COPYING"),
                tx.new(Droplet, app_guid="a", state="PROCESSING_UPLOAD"),
            ]
            close_interrupted(tx)
            return [(type(record), record.guid) for record in made]

        found = await store.write(interrupted)
        states = [(await store.get(kind, guid)).state for kind, guid in found]  # type: ignore[attr-defined]

    assert states == [
        "FAILED", "FAILED", "FAILED", "AWAITING_UPLOAD", "FAILED", "AWAITING_UPLOAD",
    ]  # fmt: skip
