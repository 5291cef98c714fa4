"""Buildpacks and stacks: their order, their bits, and which of them builds get."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.stager.messages import (
    BUILT_IN_BUILDPACKS,
    BuildpackToTry,
    BuildpackUsed,
    ClearBuildCaches,
    StagedSidecar,
)

from .conftest import Cloud, Dea, Stager, running_cloud, zipped
from .people import person

BUILT_IN = list(BUILT_IN_BUILDPACKS)
SCRIPTS = {"bin/detect": "#!/bin/bash\n", "bin/compile": "#!/bin/bash\n"}


async def make(cloud: Cloud, name: str = "mine", **values: Any) -> Any:
    """A new buildpack without bits."""
    return await cloud.call("POST", "/v3/buildpacks", {"name": name} | values, expect=201)


async def names(cloud: Cloud) -> list[str]:
    """All buildpacks in their order, which the positions must agree with."""
    page = await cloud.call("GET", "/v3/buildpacks", expect=200)
    positions = [one["position"] for one in page["resources"]]
    assert positions == list(range(1, len(positions) + 1))
    return [one["name"] for one in page["resources"]]


async def upload(
    cloud: Cloud, guid: str, tmp_path: Path, files: dict[str, str] | bytes = SCRIPTS
) -> Any:
    """Upload a zip, as ``cf create-buildpack`` does; the bare answer."""
    bits = trio.Path(tmp_path / "bits.zip")
    await bits.write_bytes(files if isinstance(files, bytes) else zipped(files))
    return await cloud.kit.http.upload_form(
        f"{cloud.url}/v3/buildpacks/{guid}/upload",
        "bits",
        Path(bits),
        filename="mine-v1.zip",
        headers={"Authorization": f"bearer {cloud.token}"},
    )


async def ready(cloud: Cloud, tmp_path: Path, name: str = "mine", **values: Any) -> Any:
    """A buildpack with bits."""
    made = await make(cloud, name, **values)
    answer = await upload(cloud, made["guid"], tmp_path)
    assert answer.status == 202, answer.body
    job = await cloud.call("GET", answer.headers["location"], expect=200)
    assert (job["operation"], job["state"]) == ("buildpack.upload", "COMPLETE"), job
    return await cloud.call("GET", f"/v3/buildpacks/{made['guid']}", expect=200)


async def problem(cloud: Cloud, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and sentence of the error that must come back."""
    answer = await cloud.raw(method, path, body)
    [error] = answer.json()["errors"]
    return answer.status, error["detail"]


async def build_with(cloud: Cloud, app: str, tmp_path: Path, *wanted: str, **data: Any) -> Any:
    """The bare answer to a build with these buildpacks."""
    package = await cloud.package(app, {"a": "b"}, tmp_path)
    body: Any = {"package": {"guid": package}}
    if wanted or data:
        body["lifecycle"] = {"type": "buildpack", "data": {"buildpacks": wanted} | data}
    return await cloud.raw("POST", "/v3/builds", body)


async def built_with(
    cloud: Cloud, stager: Stager, app: str, tmp_path: Path, *wanted: str, **data: Any
) -> list[BuildpackToTry]:
    """What a stager is told of the buildpacks of such a build."""
    answer = await build_with(cloud, app, tmp_path, *wanted, **data)
    assert answer.status == 201, answer.body
    build = answer.json()
    with trio.fail_after(10):
        while build["state"] == "STAGING":
            build = await cloud.call("GET", f"/v3/builds/{build['guid']}", expect=200)
    return stager.requests[-1].properties.buildpack_list


async def test_those_of_the_stagers_are_there_from_the_start(cloud: Cloud) -> None:
    """Ready, enabled, for any stack, in the stagers' own order."""
    assert await names(cloud) == BUILT_IN
    page = await cloud.call("GET", "/v3/buildpacks?names=python_buildpack", expect=200)
    [python] = page["resources"]
    assert (python["state"], python["enabled"], python["stack"]) == ("READY", True, None)
    assert python["links"]["upload"]["method"] == "POST"


async def test_a_new_one_comes_first_unless_it_is_told_otherwise(cloud: Cloud) -> None:
    """The others make room; a position after the last is the last."""
    await make(cloud, "first")
    await make(cloud, "second", position=2)
    await make(cloud, "last", position=99)
    assert await names(cloud) == ["first", "second", *BUILT_IN, "last"]


@pytest.mark.parametrize("position", [1, 2, 3, 4, 9, 99])
async def test_moving_one_keeps_the_order_of_the_others(cloud: Cloud, position: int) -> None:
    """Up and down; when one is deleted, the gap is closed."""
    made = {name: await make(cloud, name, position=i) for i, name in enumerate("abcd", 1)}
    order = ["a", "b", "d", *BUILT_IN]
    order.insert(position - 1, "c")
    path = f"/v3/buildpacks/{made['c']['guid']}"
    moved = await cloud.call("PATCH", path, {"position": position}, expect=200)
    assert await names(cloud) == order
    assert moved["position"] == order.index("c") + 1
    job = await cloud.call("DELETE", f"/v3/buildpacks/{made['b']['guid']}", expect=202)
    assert (await cloud.call("GET", job, expect=200))["operation"] == "buildpack.delete"
    assert await names(cloud) == [name for name in order if name != "b"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"name": ""}, "Name can't be blank"),
        ({"name": "a b"}, "Name is invalid"),
        ({"name": "x" * 251}, "Name is too long (maximum is 250 characters)"),
        ({"name": "x", "position": 0}, "Position must be greater than or equal to 1"),
        ({"name": "x", "stack": "none"}, "Stack 'none' does not exist"),
        ({"name": "x", "lifecycle": "cnb"}, "Lifecycle must be"),
        ({"name": "taken"}, "Buildpack with name 'taken' and an unassigned stack already exists"),
        (
            {"name": "taken", "stack": "cflinuxfs4"},
            "Buildpack with name 'taken', stack 'cflinuxfs4' and lifecycle 'buildpack' already "
            "exists",
        ),
    ],
)
async def test_what_cannot_be_one_is_refused(cloud: Cloud, body: dict[str, Any], text: str) -> None:
    """In Cloud Controller's words; a name may be there once for each stack."""
    await make(cloud, "taken")
    await make(cloud, "taken", stack="cflinuxfs4")
    await make(cloud, "taken", stack="appliance")
    status, detail = await problem(cloud, "POST", "/v3/buildpacks", body)
    assert status == 422
    assert text in detail


async def test_changes_keep_to_the_same_rules(cloud: Cloud) -> None:
    """A stack can be given once; a name that is taken stays its owner's."""
    one, two = await make(cloud, "one"), await make(cloud, "two")
    path = f"/v3/buildpacks/{one['guid']}"
    values = {"enabled": False, "locked": True, "stack": "cflinuxfs4", "name": "uno"}
    changed = await cloud.call("PATCH", path, values, expect=200)
    assert {key: changed[key] for key in values} == values
    assert await problem(cloud, "PATCH", path, {"stack": "appliance"}) == (
        422, "Buildpack stack cannot be changed",
    )  # fmt: skip
    other = f"/v3/buildpacks/{two['guid']}"
    status, detail = await problem(cloud, "PATCH", other, {"name": "uno", "stack": "cflinuxfs4"})
    assert (status, "already exists" in detail) == (422, True)


async def test_only_administrators_change_them(cloud: Cloud, tmp_path: Path) -> None:
    """Everybody who is logged in sees them."""
    made = await make(cloud)
    developer = await person(cloud, "dev", "space_developer")
    path = f"/v3/buildpacks/{made['guid']}"
    assert "mine" in await names(developer)
    for method, where in (("PATCH", path), ("DELETE", path), ("POST", "/v3/buildpacks")):
        assert (await developer.raw(method, where, {"name": "x"})).status == 403
    assert (await upload(developer, made["guid"], tmp_path)).status == 403
    stack = {"name": "x"}
    assert (await developer.raw("POST", "/v3/stacks", stack)).status == 403
    assert (await developer.raw("POST", "/v3/admin/actions/clear_buildpack_cache")).status == 403


async def test_bits_make_it_ready(cloud: Cloud, tmp_path: Path) -> None:
    """The file's name is shown; what happened is an audit event."""
    made = await ready(cloud, tmp_path)
    assert (made["state"], made["filename"]) == ("READY", "mine-v1.zip")
    page = await cloud.call("GET", f"/v3/audit_events?target_guids={made['guid']}", expect=200)
    types = {event["type"] for event in page["resources"]}
    assert types == {"audit.buildpack.create", "audit.buildpack.upload"}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (b"", "mine-v1.zip cannot be empty"),
        (b"no archive", 'not a zip file. Buildpacks of lifecycle "buildpack" must be valid zip'),
    ],
)
async def test_what_is_no_zip_is_refused(
    cloud: Cloud, tmp_path: Path, files: bytes, text: str
) -> None:
    """At once, so that no job need be polled."""
    made = await make(cloud)
    answer = await upload(cloud, made["guid"], tmp_path, files)
    assert answer.status == 422
    detail = answer.json()["errors"][0]["detail"]
    assert detail.startswith("Uploaded buildpack file is invalid: ")
    assert text in detail
    assert (await cloud.raw("GET", f"/v3/buildpacks/{made['guid']}")).json()["filename"] is None


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (b"PK\x03\x04 and no more", 390013),
        ({"manifest.yml": "stack: other\n"}, 390012),
        ({"manifest.yml": "language: x\nstack: 'appliance'\n"}, 290000),
        ({"manifest.yml": "x" * (1024 * 1024 + 1)}, 390013),
    ],
)
async def test_a_zip_that_does_not_fit_fails_its_job(
    cloud: Cloud, tmp_path: Path, files: Any, code: int
) -> None:
    """With the number that cf knows it by; the buildpack stays without bits."""
    made = await make(cloud)
    await make(cloud, stack="appliance")
    answer = await upload(cloud, made["guid"], tmp_path, files)
    assert answer.status == 202
    job = await cloud.call("GET", answer.headers["location"], expect=200)
    assert job["state"] == "FAILED"
    assert [error["code"] for error in job["errors"]] == [code]
    assert (await cloud.raw("GET", f"/v3/buildpacks/{made['guid']}")).json()["filename"] is None


async def test_the_zip_says_for_which_stack_it_is(cloud: Cloud, tmp_path: Path) -> None:
    """One without a stack gets it; one with another stack keeps its bits."""
    files = SCRIPTS | {"manifest.yml": "---\nlanguage: x\nstack: cflinuxfs4\n"}
    free, bound = await make(cloud, "free"), await make(cloud, "bound", stack="appliance")
    assert (await upload(cloud, free["guid"], tmp_path, files)).status == 202
    shown = await cloud.call("GET", f"/v3/buildpacks/{free['guid']}", expect=200)
    assert shown["stack"] == "cflinuxfs4"
    answer = await upload(cloud, bound["guid"], tmp_path, files)
    job = await cloud.call("GET", answer.headers["location"], expect=200)
    assert [error["code"] for error in job["errors"]] == [390011]


async def test_a_locked_one_keeps_its_bits(cloud: Cloud, tmp_path: Path) -> None:
    """Until it is unlocked."""
    made = await ready(cloud, tmp_path)
    path = f"/v3/buildpacks/{made['guid']}"
    await cloud.call("PATCH", path, {"locked": True}, expect=200)
    answer = await upload(cloud, made["guid"], tmp_path)
    assert (answer.status, answer.json()["errors"][0]["detail"]) == (422, "Buildpack is locked")


async def test_stagers_fetch_what_was_uploaded(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """With the address and digest they are told, and with their login only."""
    await ready(cloud, tmp_path)
    [mine, *others] = await built_with(cloud, stager, await cloud.app(), tmp_path)
    assert [one.name for one in others] == BUILT_IN
    assert not any(one.url or one.skip_detect for one in others)
    assert (mine.name, mine.skip_detect) == ("mine", False)
    zipped_bytes = zipped(SCRIPTS)
    assert mine.sha256 == hashlib.sha256(zipped_bytes).hexdigest()
    assert (await cloud.kit.http.request("GET", str(mine.url))).body == zipped_bytes
    stranger = f"{cloud.url}/staging/buildpack/{mine.sha256}"
    assert (await cloud.kit.http.request("GET", stranger)).status == 401
    assert (await cloud.kit.http.request("GET", f"{mine.url}0")).status == 404


async def test_a_build_gets_what_was_asked_for(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """Uploaded ones, the stagers' own and URLs, in that order, none of them questioned."""
    made = await ready(cloud, tmp_path)
    url = "https://u:p@git.example.test/x.git#main"
    app = await cloud.app()
    path = f"/v3/apps/{app}"
    lifecycle = {"type": "buildpack", "data": {"buildpacks": ["python_buildpack", url, "mine"]}}
    shown = await cloud.call("PATCH", path, {"lifecycle": lifecycle}, expect=200)
    hidden = "https://***:***@git.example.test/x.git#main"
    assert shown["lifecycle"]["data"]["buildpacks"] == ["python_buildpack", hidden, "mine"]
    got = await built_with(cloud, stager, app, tmp_path)
    assert [(one.name, one.skip_detect) for one in got] == [
        ("python_buildpack", True),
        (url, True),
        ("mine", True),
    ]
    await cloud.call("PATCH", f"/v3/buildpacks/{made['guid']}", {"enabled": False}, expect=200)
    assert [
        one.name for one in await built_with(cloud, stager, await cloud.app("b"), tmp_path)
    ] == (BUILT_IN)
    answer = await build_with(cloud, app, tmp_path)
    [error] = answer.json()["errors"]
    assert (answer.status, error["code"]) == (400, 290003)
    assert "Requested buildpack(s) 'mine' are disabled" in error["detail"]


async def test_one_for_the_stack_wins_over_one_for_any(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """And one for another stack is not there."""
    await ready(cloud, tmp_path, "two", stack="cflinuxfs4")
    any_stack = await make(cloud, "two")
    await upload(cloud, any_stack["guid"], tmp_path, SCRIPTS | {"x": "y"})
    app = await cloud.app()
    own = hashlib.sha256(zipped(SCRIPTS)).hexdigest()
    [here] = await built_with(cloud, stager, app, tmp_path, "two")
    [there] = await built_with(cloud, stager, app, tmp_path, "two", stack="cflinuxfs4")
    assert (here.sha256 == own, there.sha256 == own) == (False, True)
    assert stager.requests[-1].properties.stack == "cflinuxfs4"


WRONG = "Buildpack must be an existing admin buildpack or a valid git URI"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"buildpacks": ["nonesuch"]}, WRONG),
        ({"buildpacks": ["python_buildpack", "ftp://x/y.git"]}, WRONG),
        ({"buildpacks": ["http://[broken"]}, WRONG),
        ({"buildpacks": ["empty"]}, WRONG),
        ({"buildpacks": [" "]}, "Buildpacks entries must be between 1 and 4096 characters"),
        ({"stack": "nonesuch"}, "Stack must be an existing stack"),
    ],
)
async def test_an_app_cannot_have_what_there_is_not(
    cloud: Cloud, stager: Stager, tmp_path: Path, data: dict[str, Any], text: str
) -> None:
    """Refused when it is asked for: for a new app, for an old one, and for one build."""
    await make(cloud, "empty")  # no bits were uploaded
    app = await cloud.app()
    lifecycle = {"type": "buildpack", "data": data}
    relation = {"space": {"data": {"guid": await cloud.space()}}}
    new = {"name": "new", "relationships": relation, "lifecycle": lifecycle}
    package = await cloud.package(app, {"a": "b"}, tmp_path)
    build = {"package": {"guid": package}, "lifecycle": lifecycle}
    for method, path, body in (
        ("POST", "/v3/apps", new),
        ("PATCH", f"/v3/apps/{app}", {"lifecycle": lifecycle}),
        ("POST", "/v3/builds", build),
    ):
        status, detail = await problem(cloud, method, path, body)
        assert status == 422
        assert text in detail
    assert not stager.requests


async def test_without_any_buildpack_nothing_is_built(cloud: Cloud, tmp_path: Path) -> None:
    """Cloud Controller says so before a stager is asked."""
    for one in (await cloud.call("GET", "/v3/buildpacks", expect=200))["resources"]:
        await cloud.call("PATCH", f"/v3/buildpacks/{one['guid']}", {"enabled": False}, expect=200)
    answer = await build_with(cloud, await cloud.app(), tmp_path)
    assert (answer.status, answer.json()["errors"][0]["code"]) == (400, 170006)


async def test_a_droplet_tells_of_its_buildpacks(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """What they said of themselves; logins in their URLs are hidden."""
    stager.more = {
        "buildpacks": [
            BuildpackUsed(name="http://u:p@x/y.git", version="1.2", buildpack_name="y"),
            BuildpackUsed(name="python_buildpack", detect_output="python"),
        ],
        "sidecars": [StagedSidecar(name="agent", command="./agent", process_types=["web"])],
    }
    guid = await cloud.staged(await cloud.app(), tmp_path)
    shown = await cloud.call("GET", f"/v3/droplets/{guid}", expect=200)
    assert shown["buildpacks"] == [
        {"name": "http://***:***@x/y.git", "detect_output": None, "version": "1.2",
         "buildpack_name": "y"},
        {"name": "python_buildpack", "detect_output": "python", "version": None,
         "buildpack_name": None},
    ]  # fmt: skip


async def test_a_current_droplet_brings_its_sidecars(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """In place of the last one's; the user's own stay, and a cancelled deployment undoes it."""
    app = await cloud.app()
    mine = {"name": "mine", "command": "./mine", "process_types": ["web"]}
    await cloud.call("POST", f"/v3/apps/{app}/sidecars", mine, expect=201)

    async def staged(*sidecars: str) -> str:
        stager.more = {
            "sidecars": [
                StagedSidecar(name=name, command=f"./{name}", process_types=["web"])
                for name in sidecars
            ]
        }
        return await cloud.staged(app, tmp_path)

    async def shown() -> dict[str, str]:
        page = await cloud.call("GET", f"/v3/processes/{app}/sidecars", expect=200)
        return {one["name"]: one["origin"] for one in page["resources"]}

    path = f"/v3/apps/{app}/relationships/current_droplet"
    await cloud.call("PATCH", path, {"data": {"guid": await staged("old", "mine")}}, expect=200)
    assert await shown() == {"old": "buildpack", "mine": "user"}
    await cloud.call("POST", f"/v3/apps/{app}/actions/start", expect=200)
    await cloud.until_states(app, "RUNNING")
    dea.fate = "STARTING"
    body = {
        "droplet": {"guid": await staged("new")},
        "relationships": {"app": {"data": {"guid": app}}},
    }
    deployment = await cloud.call("POST", "/v3/deployments", body, expect=201)
    assert await shown() == {"new": "buildpack", "mine": "user"}
    await cloud.call("POST", f"/v3/deployments/{deployment['guid']}/actions/cancel", expect=200)
    with trio.fail_after(10):
        while "new" in await shown():
            await trio.lowlevel.checkpoint()
    assert await shown() == {"old": "buildpack", "mine": "user"}


async def test_a_failed_build_has_cloud_foundrys_words(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """Ours stay beside them."""
    words = "NoAppDetectedError - An app was not successfully detected by any available buildpack"
    stager.error = "Staging task failed:\n No plugin recognised the app."
    stager.more = {"cloud_error": words, "error_code": "no-plugin-matched", "phase": "detect"}
    app = await cloud.app()
    build = await cloud.build(await cloud.package(app, {"a": "b"}, tmp_path))
    assert build["error"] == words
    page = await cloud.call(
        "GET", f"/v3/audit_events?target_guids={app}&types=audit.app.build.failed", expect=200
    )
    [event] = page["resources"]
    assert (event["data"]["error_id"], event["actor"]["name"]) == ("NoAppDetectedError", "admin")
    why = build["appliance"]["failure"]["why"]
    assert why == "Staging task failed: No plugin recognised the app."


@pytest.mark.parametrize("error", [None, "Staging task failed:\n No."])
async def test_an_app_may_be_deleted_while_it_is_built(
    cloud: Cloud, stager: Stager, tmp_path: Path, error: str | None
) -> None:
    """Nobody is told how the build ended, and no droplet is left of it."""
    stager.error, stager.hold = error, trio.Event()
    app = await cloud.app()
    assert (await build_with(cloud, app, tmp_path)).status == 201
    with trio.fail_after(5):
        await stager.holding.wait()
    await cloud.call("DELETE", f"/v3/apps/{app}", expect=202)
    stager.hold.set()
    with trio.fail_after(5):
        await stager.answered.wait()
        while cloud.stored or (await cloud.call("GET", "/v3/builds", expect=200))["resources"]:
            await trio.lowlevel.checkpoint()
    assert (await cloud.call("GET", "/v3/droplets", expect=200))["resources"] == []
    assert (await cloud.raw("GET", "/v3/info")).status == 200


async def test_caches_are_cleared_on_demand_and_with_their_app(cloud: Cloud) -> None:
    """Stagers are told on the bus: of all apps, of one, and of one that is deleted."""
    app = await cloud.app()
    async with cloud.kit.subscribe(ClearBuildCaches) as inbox:
        for method, path in (
            ("POST", "/v3/admin/actions/clear_buildpack_cache"),
            ("POST", f"/v3/apps/{app}/actions/clear_buildpack_cache"),
            ("DELETE", f"/v3/apps/{app}"),
        ):
            job = await cloud.call(method, path, expect=202)
            assert (await cloud.call("GET", job, expect=200))["state"] == "COMPLETE"
        with trio.fail_after(5):
            told = [(await inbox.__anext__()).body.app_id for _ in range(3)]
    assert told == [None, app, app]


async def test_a_stack_is_there_for_those_who_ask_for_it(cloud: Cloud) -> None:
    """Made, shown, described anew, listed with its apps, and removed when it has none."""
    page = await cloud.call("GET", "/v3/stacks?default=true", expect=200)
    assert [one["name"] for one in page["resources"]] == ["appliance"]
    body = {"name": "mine", "description": "of our own"}
    made = await cloud.call("POST", "/v3/stacks", body, expect=201)
    path = f"/v3/stacks/{made['guid']}"
    assert await problem(cloud, "POST", "/v3/stacks", body) == (422, "Name must be unique")
    change = {"state": "DEPRECATED", "state_reason": "old"}
    changed = await cloud.call("PATCH", path, change, expect=200)
    assert (changed["state"], changed["state_reason"]) == ("DEPRECATED", "old")
    relation = {"space": {"data": {"guid": await cloud.space()}}}
    lifecycle = {"type": "buildpack", "data": {"stack": "mine"}}
    app = await cloud.call(
        "POST",
        "/v3/apps",
        {"name": "a", "relationships": relation, "lifecycle": lifecycle},
        expect=201,
    )
    page = await cloud.call("GET", f"{path}/apps", expect=200)
    assert [one["name"] for one in page["resources"]] == ["a"]
    status, detail = await problem(cloud, "DELETE", path)
    assert (status, "apps are currently using" in detail) == (422, True)
    await cloud.call("DELETE", f"/v3/apps/{app['guid']}", expect=202)
    await cloud.call("DELETE", path, expect=204)
    assert (await cloud.raw("GET", path)).status == 404


async def test_a_closed_stack_takes_no_builds(cloud: Cloud, stager: Stager, tmp_path: Path) -> None:
    """A restricted one only those of apps that it had before; a disabled one none."""
    page = await cloud.call("GET", "/v3/stacks?names=appliance", expect=200)
    path = f"/v3/stacks/{page['resources'][0]['guid']}"
    old, new = await cloud.app("old"), await cloud.app("new")
    await built_with(cloud, stager, old, tmp_path)
    change = {"state": "RESTRICTED", "state_reason": "Take another."}
    await cloud.call("PATCH", path, change, expect=200)
    await built_with(cloud, stager, old, tmp_path)
    answer = await build_with(cloud, new, tmp_path)
    [error] = answer.json()["errors"]
    assert (error["code"], error["detail"].endswith("Take another.")) == (250004, True)
    await cloud.call("PATCH", path, {"state": "DISABLED"}, expect=200)
    assert (await build_with(cloud, old, tmp_path)).status == 422


async def test_what_an_admin_deletes_stays_deleted(tmp_path: Path) -> None:
    """The stagers' own ones are not put back by a restart, and bits that nobody has go."""
    async with running_cloud(tmp_path / "state") as cloud:
        page = await cloud.call("GET", "/v3/buildpacks?names=go_buildpack", expect=200)
        await cloud.call("DELETE", f"/v3/buildpacks/{page['resources'][0]['guid']}", expect=202)
        kept = await ready(cloud, tmp_path, "kept")
        gone = await make(cloud, "gone")
        await upload(cloud, gone["guid"], tmp_path, SCRIPTS | {"x": "y"})
        await cloud.call("DELETE", f"/v3/buildpacks/{gone['guid']}", expect=202)
    async with running_cloud(tmp_path / "state") as cloud:
        expected = ["kept", *(name for name in BUILT_IN if name != "go_buildpack")]
        assert await names(cloud) == expected
        again = await cloud.call("GET", f"/v3/buildpacks/{kept['guid']}", expect=200)
        assert again["state"] == "READY"
    blobs = tmp_path / "state" / "buildpacks" / "blobs"
    assert len([path for path in blobs.rglob("*") if path.is_file()]) == 1
