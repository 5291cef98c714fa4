"""From files to a droplet: resource matching, packages, builds, and how staging ends."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import trio

from .conftest import Cloud, Stager, zipped


def described(path: str, text: str, mode: str = "644") -> dict[str, object]:
    """A file as clients describe it to resource matching."""
    sha1 = hashlib.sha1(text.encode()).hexdigest()
    return {"path": path, "mode": mode, "checksum": {"value": sha1}, "size_in_bytes": len(text)}


async def test_a_package_becomes_a_droplet(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """The stager gets the package, the archiver the droplet, the client its guid."""
    app = await cloud.app()
    package = await cloud.package(app, {"app.py": "print(1)"}, tmp_path)

    build = await cloud.build(package)

    droplet = await cloud.call("GET", f"/v3/droplets/{build['droplet']['guid']}", expect=200)
    assert droplet["state"] == "STAGED"
    assert droplet["process_types"] == {"web": "python3 app.py", "worker": "python3 work.py"}
    assert list(cloud.stored) == [f"/droplets/{app}/{droplet['appliance']['sha1']}"]


async def test_known_files_need_no_upload(cloud: Cloud, tmp_path: Path) -> None:
    """What was pushed once is matched by digest and size, and a package is made of it alone."""
    app = await cloud.app()
    await cloud.package(app, {"app.py": "print(1)", "lib/a.py": "a = 1"}, tmp_path)
    known, other = described("copy.py", "print(1)", "755"), described("x.py", "print(2)")
    lying = described("y.py", "a = 1") | {"size_in_bytes": 4}

    answer = await cloud.call("POST", "/v3/resource_matches", {"resources": [known, other, lying]})

    assert answer["resources"] == [known]
    relation = {"app": {"data": {"guid": app}}}
    made = await cloud.call("POST", "/v3/packages", {"relationships": relation})
    empty = tmp_path / "empty.zip"
    empty.write_bytes(zipped({}))
    uploaded = await cloud.upload(made["guid"], empty, json.dumps([known]))
    assert uploaded.json()["state"] == "READY"
    content = await cloud.raw("GET", f"/v3/packages/{made['guid']}/download")
    assert b"copy.py" in content.body
    assert b"print(1)" in content.body


async def test_a_resource_path_stays_inside(cloud: Cloud, tmp_path: Path) -> None:
    """A matched resource cannot be placed outside of the package, and may be sent again."""
    app = await cloud.app()
    await cloud.package(app, {"app.py": "print(1)"}, tmp_path)
    relation = {"app": {"data": {"guid": app}}}
    made = await cloud.call("POST", "/v3/packages", {"relationships": relation})
    bits = tmp_path / "bits.zip"
    bits.write_bytes(zipped({"a": "b"}))

    for path in ("../evil", "/etc/evil", "a/../../evil"):
        bad = json.dumps([described(path, "print(1)")])
        refused = await cloud.upload(made["guid"], bits, bad)
        assert refused.status == 422
        assert "points outside" in refused.json()["errors"][0]["detail"]

    again = await cloud.upload(made["guid"], bits)
    assert again.json()["state"] == "READY"


async def test_bits_are_taken_once(cloud: Cloud, tmp_path: Path) -> None:
    """A second upload to one package is the error that clients know."""
    app = await cloud.app()
    package = await cloud.package(app, {"app.py": "1"}, tmp_path)
    bits = tmp_path / "more.zip"
    bits.write_bytes(zipped({"b": "c"}))

    refused = await cloud.upload(package, bits)

    assert (refused.status, refused.json()["errors"][0]["code"]) == (400, 150004)


async def test_a_refused_archive_names_entry_and_rule(cloud: Cloud, tmp_path: Path) -> None:
    """The client learns which entry of its zip is wrong."""
    app = await cloud.app()
    relation = {"app": {"data": {"guid": app}}}
    made = await cloud.call("POST", "/v3/packages", {"relationships": relation})
    bits = tmp_path / "evil.zip"
    bits.write_bytes(zipped({"../evil.txt": "x"}))

    refused = await cloud.upload(made["guid"], bits)

    assert refused.status == 422
    assert "../evil.txt" in refused.json()["errors"][0]["detail"]


async def test_a_failed_build_tells_why(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """The stager's reason reaches the client, and nothing was stored."""
    stager.error = "Staging task failed:\n Staging plugin failed: no such package"
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)

    build = await cloud.build(package)

    assert build["state"] == "FAILED"
    assert "Staging plugin failed: no such package" in build["error"]
    assert not cloud.stored


async def test_success_without_a_droplet_is_a_failure(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """A stager that says it is done but delivered nothing is not believed."""
    stager.deliver = False
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)

    build = await cloud.build(package)

    assert build["appliance"]["failure"]["code"] == "droplet-missing"


async def test_no_stager_fails_at_once(cloud: Cloud, tmp_path: Path) -> None:
    """Nobody waits fifteen minutes for a stager that is not there."""
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)

    with trio.fail_after(5):
        build = await cloud.build(package)

    assert build["appliance"]["failure"]["code"] == "no-stager"


async def test_an_upload_handle_works_once(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """After the build ended its upload address is refused."""
    app = await cloud.app()
    await cloud.staged(app, tmp_path)

    late = await stager.upload(stager.requests[0], b"late")

    assert late.status == 400
    assert len(cloud.stored) == 1


async def test_one_build_at_a_time(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """A second build of the same app is refused while one is staging."""
    stager.hold = trio.Event()
    package = await cloud.package(await cloud.app(), {"app.py": "1"}, tmp_path)
    first = await cloud.call("POST", "/v3/builds", {"package": {"guid": package}}, expect=201)

    second = await cloud.raw("POST", "/v3/builds", {"package": {"guid": package}})

    assert (second.status, second.json()["errors"][0]["code"]) == (422, 170017)
    stager.hold.set()
    done = await cloud.call("GET", f"/v3/builds/{first['guid']}", expect=200)
    assert done["state"] == "STAGED"


async def test_staging_needs_its_own_login(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """Packages are for stagers: no login, no bits."""
    app = await cloud.app()
    await cloud.staged(app, tmp_path)

    bare = await cloud.kit.http.request("GET", f"{cloud.url}/staging/app/{app}")

    assert bare.status == 401


async def test_the_push_is_traced(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """The events of a push are found by the app's name, those of other pushes are not."""
    from appliance.kernel.kit import joined

    with joined("push-1"):
        await cloud.staged(await cloud.app("one"), tmp_path)
    with joined("push-2"):
        await cloud.staged(await cloud.app("two"), tmp_path)

    answer = await cloud.call("GET", "/_appliance/trace?app=two", expect=200)

    assert answer["trace"] == "push-2"
    happened = [event["what"] for event in answer["events"]]
    assert {"push.started", "message.received", "droplet.delivered", "push.staged"} <= set(happened)
    assert {event["trace"] for event in answer["events"]} == {"push-2"}
