"""What the controller knows of ssh: codes, who may come in, and where the room is."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from appliance.ssh.messages import SshAdvertise
from fake_controller.messages import SshAuthorize, SshAuthorized
from fake_controller.ssh_codes import LIFETIME, MOST, Codes
from fake_controller.ssh_room import SshRoom
from fake_controller.tokens import Identity

from .conftest import Cloud, Dea, Stager
from .people import person
from .test_running_apps import started

AUTHORIZE = "/oauth/authorize?client_id=ssh-proxy&response_type=code"
ME = Identity(guid="g", name="me", admin=False)
INVALID = "The one-time code is wrong, has been used, or is too old."


async def code(cloud: Cloud) -> str:
    """A code, as ``cf ssh-code`` gets it."""
    answer = await cloud.raw("GET", AUTHORIZE)
    assert answer.status == 302, answer.body
    (found,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    assert answer.headers["location"].startswith("http://")
    return found


async def ask(cloud: Cloud, user: str, code: str) -> SshAuthorized:
    """The ssh room's question."""
    question = SshAuthorize(user=user, code=code, client="127.0.0.1:1")
    return await cloud.kit.request(question, SshAuthorized, timeout=5)


async def refusal(cloud: Cloud, user: str, asker: Cloud | None = None) -> str:
    """Why somebody with a valid code is refused."""
    answer = await ask(cloud, user, await code(asker or cloud))
    assert not answer.droplet
    return answer.refusal


async def events(cloud: Cloud, app: str) -> list[tuple[str, str, Any]]:
    """The ssh events of an app, oldest first."""
    path = f"/v3/audit_events?target_guids={app}&order_by=created_at"
    page = await cloud.call("GET", path, expect=200)
    return [
        (one["type"], one["actor"]["name"], one["data"])
        for one in page["resources"]
        if "ssh" in one["type"]
    ]


async def test_a_code_opens_a_running_instance_once(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """By the guid of the process or of its app; the second time it is worth nothing."""
    app = await started(cloud, tmp_path)
    worker = await cloud.call(
        "POST", f"/v3/apps/{app}/processes/worker/actions/scale", {"instances": 2}, expect=202
    )
    await cloud.until_states(worker["guid"], "RUNNING", "RUNNING")
    order = next(one for one in dea.starts if one.index == 1)
    one_time = await code(cloud)

    answer = await ask(cloud, f"cf:{worker['guid']}/1", one_time)

    assert answer == SshAuthorized(
        droplet=worker["guid"],
        index=1,
        instance=order.instance_guid,
        app_id=app,
        username="admin",
    )
    assert (await ask(cloud, f"cf:{worker['guid']}/1", one_time)).refusal == INVALID
    assert (await ask(cloud, f"cf:{app}/0", await code(cloud))).droplet == app
    assert await events(cloud, app) == [
        ("audit.app.ssh-authorized", "admin", {"index": 1}),
        ("audit.app.ssh-authorized", "admin", {"index": 0}),
    ]


async def test_what_does_not_run_is_refused(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Another index, another guid, no guid at all, and an app that is stopped."""
    app = await started(cloud, tmp_path)

    assert await refusal(cloud, f"cf:{app}/7") == "Instance 7 of the app is not running."
    assert await refusal(cloud, "cf:nobody/0") == "You are not authorized to log in to this app."
    for user in (f"cf:{app}", "root", f"cf:{app}/-1", f"cf:{app}/0/0", ""):
        assert (await refusal(cloud, user)).startswith("The user must be cf:GUID/INDEX"), user
    await cloud.call("POST", f"/v3/apps/{app}/actions/stop", expect=200)
    assert await refusal(cloud, f"cf:{app}/0") == "The app is not started."
    assert await events(cloud, app) == [
        ("audit.app.ssh-unauthorized", "admin", {"index": 7}),
        ("audit.app.ssh-unauthorized", "admin", {"index": 0}),
    ]


async def test_only_developers_come_in(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Who may look at the app may not log in to it; who has no role in the space even less."""
    app = await started(cloud, tmp_path)
    developer = await person(cloud, "dan", "space_developer")

    for name, role in (("ann", "space_auditor"), ("sam", "space_supporter"),
                       ("mia", "space_manager"), ("joe", "organization_user")):  # fmt: skip
        asker = await person(cloud, name, role)
        why = await refusal(cloud, f"cf:{app}/0", asker)
        assert why == "You are not authorized to log in to this app.", role

    answer = await ask(cloud, f"cf:{app}/0", await code(developer))
    assert (answer.refusal, answer.username) == ("", "dan")
    who = [(type_, name) for type_, name, _ in await events(cloud, app)]
    assert who[0] == ("audit.app.ssh-unauthorized", "ann")
    assert who[-1] == ("audit.app.ssh-authorized", "dan")


async def test_app_and_space_can_switch_it_off(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """The space first; clients are told which of them it was."""
    app, space = await started(cloud, tmp_path), await cloud.space()
    status = f"/v3/apps/{app}/ssh_enabled"
    assert await cloud.call("GET", status, expect=200) == {"enabled": True, "reason": ""}

    await cloud.call("PATCH", f"/v3/apps/{app}/features/ssh", {"enabled": False}, expect=200)
    off = {"enabled": False, "reason": "Disabled for app"}
    assert await cloud.call("GET", status, expect=200) == off
    assert await refusal(cloud, f"cf:{app}/0") == "SSH is disabled for app."

    await cloud.call("PATCH", f"/v3/spaces/{space}/features/ssh", {"enabled": False}, expect=200)
    off = {"enabled": False, "reason": "Disabled for space dev"}
    assert await cloud.call("GET", status, expect=200) == off
    assert await refusal(cloud, f"cf:{app}/0") == "SSH is disabled for space dev."

    for path in (f"/v3/apps/{app}", f"/v3/spaces/{space}"):
        await cloud.call("PATCH", f"{path}/features/ssh", {"enabled": True}, expect=200)
    assert (await ask(cloud, f"cf:{app}/0", await code(cloud))).droplet == app
    await cloud.call("GET", "/v3/apps/nobody/ssh_enabled", expect=404)


@pytest.mark.parametrize(
    ("query", "login", "status", "error"),
    [
        ("client_id=ssh-proxy&response_type=code", "", 401, "unauthorized"),
        ("client_id=ssh-proxy&response_type=code", "bearer forged", 401, "unauthorized"),
        ("client_id=cf&response_type=code", None, 400, "invalid_client"),
        ("client_id=ssh-proxy&response_type=token", None, 400, "unsupported_response_type"),
        ("", None, 400, "unsupported_response_type"),
    ],
)
async def test_codes_are_for_who_is_logged_in_and_for_ssh(
    cloud: Cloud, query: str, login: str | None, status: int, error: str
) -> None:
    """Others are told why, as UAA tells it."""
    headers = {} if login is None else {"Authorization": login}
    answer = await cloud.raw("GET", f"/oauth/authorize?{query}", **headers)
    assert (answer.status, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]


async def test_the_root_document_tells_where_the_room_is(cloud: Cloud) -> None:
    """As it says itself, now and after it has moved; until there is one, nowhere."""
    root = (await cloud.call("GET", "/"))["links"]
    assert root["app_ssh"] is None
    print_ = "x" * 43

    for host, port in (("10.0.0.1", 22), ("", 23), ("::1", 24)):
        cloud.kit.publish(SshAdvertise(host=host, port=port, fingerprint=print_))
        with trio.fail_after(5):
            href = ""
            while not href.endswith(f":{port}"):
                link = (await cloud.call("GET", "/"))["links"]["app_ssh"]
                href = link["href"] if link else ""
        assert href == {22: "10.0.0.1:22", 23: "127.0.0.1:23", 24: "[::1]:24"}[port]
        assert link["meta"] == {"host_key_fingerprint": print_, "oauth_client": "ssh-proxy"}


def test_codes_are_forgotten_in_time() -> None:
    """After their minutes, after their use, and when there are too many."""
    count = iter(range(10 * MOST))
    codes = Codes(lambda length: f"{next(count):0{length}x}")
    first, second = codes.issue(ME, 0.0), codes.issue(ME, 1.0)
    assert first != second
    assert codes.redeem(second, LIFETIME) == ME
    assert codes.redeem(second, LIFETIME) is None
    assert codes.redeem(first, LIFETIME) is None
    many = [codes.issue(ME, 1.0) for _ in range(MOST + 1)]
    assert codes.redeem(many[0], 1.0) is None
    assert codes.redeem(many[1], 1.0) == ME
    late = codes.issue(ME, 2 * LIFETIME)
    assert codes.redeem(many[-1], 1.0) is None
    assert codes.redeem(late, 2 * LIFETIME) == ME


def test_without_a_room_there_is_no_link() -> None:
    """The CLI says "SSH endpoint not set" then."""
    assert SshRoom().link("http://127.0.0.1:1") is None
