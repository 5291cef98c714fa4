"""The other commands against an API that behaves as ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_api import FakeApi


@pytest.fixture
def pushed(cf: Any, hello: Path) -> None:
    """The app hello runs."""
    assert cf("push", "hello", hello).code == 0


@pytest.mark.usefixtures("pushed")
def test_apps_as_a_table(cf: Any) -> None:
    """As cf prints it."""
    done = cf("apps")
    assert done.out.splitlines() == [
        "Getting apps in org dev / space dev as admin...",
        "",
        "name    requested state   processes   routes",
        "hello   started           web:1/1     hello.apps.localhost",
    ]


@pytest.mark.usefixtures("pushed")
def test_apps_for_programs(cf: Any, api: FakeApi) -> None:
    """Numbers as numbers."""
    (app,) = cf("apps", "--output", "json").json["apps"]
    assert app == {
        "name": "hello",
        "guid": api.app_named("hello")["guid"],
        "state": "STARTED",
        "processes": [{"type": "web", "instances": 1, "running": 1}],
        "routes": ["hello.apps.localhost"],
    }


def test_no_apps(cf: Any) -> None:
    """Says how to get one."""
    assert "No apps found. `appliance push NAME PATH` pushes one." in cf("apps").out
    assert cf("apps", "--output", "json").json == {"apps": []}


def test_every_page_is_read(cf: Any, api: FakeApi, hello: Path) -> None:
    """A list goes on where its page ends."""
    for name in ("a", "b", "c"):
        cf("push", name, hello, "--no-start")
    api.page_size = 2
    assert [app["name"] for app in cf("apps", "--output", "json").json["apps"]] == ["a", "b", "c"]


@pytest.mark.usefixtures("pushed")
def test_one_app(cf: Any) -> None:
    """Facts, then each process with its instances."""
    out = cf("app", "hello").out
    assert "name:              hello\n" in out
    assert "requested state:   started\n" in out
    assert "routes:            hello.apps.localhost\n" in out
    assert "instances:       1/1\n" in out
    assert "start command:   python3 app.py\n" in out
    (row,) = [line for line in out.splitlines() if line.startswith("#0")]
    assert "running" in row
    assert "1.5%" in row
    assert "20M of 256M" in row
    assert "1M of 1G" in row


@pytest.mark.usefixtures("pushed")
def test_one_app_for_programs(cf: Any, api: FakeApi) -> None:
    """With the stats as the API gives them."""
    app = cf("app", "hello", "--output", "json").json
    assert app["droplet"]["guid"] == api.app_named("hello")["droplet"]
    assert app["processes"][0]["stats"][0]["state"] == "RUNNING"


def test_an_app_without_a_droplet(cf: Any, api: FakeApi, hello: Path) -> None:
    """Is shown as it is."""
    api.build_failure = {"error": "X - y", "appliance": None}
    cf("push", "hello", hello)
    assert cf("app", "hello", "--output", "json").json["droplet"] is None
    assert "droplet:           none" in cf("app", "hello").out


@pytest.mark.parametrize("command", ["app", "logs", "stop", "start", "restart", "droplets"])
def test_an_app_that_is_not_there(cf: Any, command: str) -> None:
    """Named, with where to look."""
    done = cf(command, "absent")
    assert done.code == 1
    assert "appliance: There is no app absent in space dev." in done.err
    assert "appliance apps" in done.err


@pytest.mark.usefixtures("pushed")
def test_stop_start_restart(cf: Any, api: FakeApi) -> None:
    """Each does what it says, and says OK."""
    for command, state in (("stop", "STOPPED"), ("start", "STARTED"), ("restart", "STARTED")):
        done = cf(command, "hello")
        assert done.code == 0
        assert done.out.endswith("OK\n")
        assert api.app_named("hello")["state"] == state
    assert cf("stop", "hello", "--output", "json").json["state"] == "STOPPED"


@pytest.mark.usefixtures("pushed")
def test_scale(cf: Any, api: FakeApi) -> None:
    """More instances without a restart; another size with one."""
    guid = api.app_named("hello")["guid"]
    restarts = f"/v3/apps/{guid}/actions/restart"
    scaled = cf("scale", "hello", "-i", "3", "--output", "json").json
    assert scaled["instances"] == 3
    assert api.asked("POST", restarts) == 0
    assert cf("scale", "hello", "-m", "128M", "-k", "2g").code == 0
    assert api.asked("POST", restarts) == 1
    assert api.web("hello")["memory_in_mb"] == 128
    assert api.web("hello")["disk_in_mb"] == 2048


@pytest.mark.parametrize("size", ["0", "-1", "12X", "M", "1.5G", ""])
def test_a_size_that_is_none(cf: Any, size: str) -> None:
    """Wrong usage, before anything is sent."""
    done = cf("scale", "hello", f"--memory={size}")
    assert done.code == 2
    assert "is no size: write 512M or 1G" in done.err


@pytest.mark.usefixtures("pushed")
def test_delete(cf: Any, api: FakeApi) -> None:
    """The app and its route are gone; a second time is no error."""
    assert cf("delete", "hello", "-f").code == 0
    assert not api.apps
    assert not api.routes
    done = cf("delete", "hello", "-f")
    assert done.code == 0
    assert "App hello does not exist." in done.out


@pytest.mark.usefixtures("pushed")
def test_delete_asks(cf: Any, api: FakeApi) -> None:
    """Without a terminal nobody can answer: nothing is deleted."""
    assert cf("delete", "hello").code == 130
    assert cf("delete", "hello", "--output", "json").code == 2
    assert api.app_named("hello")


@pytest.mark.usefixtures("pushed")
def test_a_shared_route_stays(cf: Any, api: FakeApi, hello: Path) -> None:
    """It leads to another app, too."""
    cf("push", "other", hello, "--no-start")
    (route,) = [route for route in api.routes.values() if route["host"] == "hello"]
    route["destinations"].append({"guid": "d", "app": {"guid": api.app_named("other")["guid"]}})
    cf("delete", "hello", "-f")
    assert route in api.routes.values()


@pytest.mark.usefixtures("pushed")
def test_routes(cf: Any, api: FakeApi) -> None:
    """With a URL that can be clicked."""
    (route,) = cf("routes", "--output", "json").json["routes"]
    assert route["host"] == "hello"
    assert route["domain"] == "apps.localhost"
    assert route["apps"] == ["hello"]
    assert route["url"] == f"http://hello.apps.localhost:{api.url.rpartition(':')[2]}"
    assert "host    domain           path   apps    url" in cf("routes").out


@pytest.mark.usefixtures("pushed")
def test_droplets(cf: Any, api: FakeApi, hello: Path) -> None:
    """The newest first, the current one marked."""
    cf("push", "hello", hello)
    first, second = cf("droplets", "hello", "--output", "json").json["droplets"]
    assert (first["current"], second["current"]) == (True, False)
    assert first["size"] == 1000
    assert f"{first['guid']} (current)" in cf("droplets", "hello").out


@pytest.mark.usefixtures("pushed")
def test_recent_logs(cf: Any, api: FakeApi) -> None:
    """As cf writes a line."""
    api.say(api.app_named("hello")["guid"], "APP/PROC/WEB", "Listening on port 8080")
    done = cf("logs", "hello", "--recent")
    assert done.out.splitlines()[-1].endswith("[APP/PROC/WEB/0] OUT Listening on port 8080")
    assert done.out.splitlines()[-1].startswith("   2023-11-1")
    line = cf("logs", "hello", "--output", "json").json["lines"][-1]
    assert line["text"] == "Listening on port 8080"
    assert line["source"] == "APP/PROC/WEB"


@pytest.mark.usefixtures("pushed")
def test_recent_and_follow_exclude_each_other(cf: Any) -> None:
    """One of them was meant."""
    assert cf("logs", "hello", "--recent", "--follow").code == 2


EVENT = {
    "at": 1.0,
    "room": "stager",
    "what": "message.received",
    "data": {"sender": "controller", "subject": "staging"},
    "trace": "trace-1",
}


def test_trace(cf: Any, api: FakeApi) -> None:
    """Text for people, Mermaid for documents, events for programs."""
    api.events = [EVENT]
    assert "Push of hello: 1 steps in 0 ms, trace trace-1" in cf("trace", "hello").out
    assert "controller ──▶ stager      staging" in cf("trace", "hello").out
    assert cf("trace", "hello", "--format", "mermaid").out.startswith("sequenceDiagram\n")
    assert cf("trace", "hello", "--format", "json").json["events"] == [EVENT]
    assert cf("trace", "--id", "trace-1", "--output", "json").json["events"] == [EVENT]


def test_a_trace_that_is_gone(cf: Any) -> None:
    """It says why that may be."""
    done = cf("trace", "hello")
    assert done.code == 1
    assert "The trace has no push of hello." in done.err
    assert cf("trace").code == 2


def test_wait(cf: Any, api: FakeApi) -> None:
    """Ready is what /readyz says."""
    assert cf("wait", "--output", "json").json["ready"] is True
    api.ready = False
    done = cf("wait", "--timeout", "0.2")
    assert done.code == 75
    assert "not ready within 0.2 s" in done.err
    assert "answers 503" in done.err


def test_wait_for_an_appliance_that_nobody_started(run: Any) -> None:
    """It may come; it did not."""
    done = run("wait", "--timeout", "0.1", "--output", "json")
    assert done.code == 75
    assert done.json["error"]["code"] == "not-ready-in-time"


def test_a_wrong_password(cf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says who was refused, and where to say it."""
    monkeypatch.setenv("APPLIANCE_PASSWORD", "wrong")
    done = cf("apps")
    assert done.code == 1
    assert "refuses to log in admin" in done.err
    assert "APPLIANCE_PASSWORD" in done.err
    assert "wrong" not in done.err


@pytest.mark.usefixtures("pushed")
def test_an_expired_token_is_renewed(cf: Any, api: FakeApi) -> None:
    """A long `logs -f` outlives its token."""
    api.expire_tokens = True
    assert cf("apps").code == 0


def test_an_org_or_space_that_is_not_there(cf: Any) -> None:
    """Each is named."""
    assert "There is no org nowhere." in cf("--org", "nowhere", "apps").err
    assert "There is no space nowhere in org dev." in cf("--space", "nowhere", "apps").err


@pytest.mark.parametrize("command", ["apps", "routes"])
def test_pipes_get_plain_text(cf: Any, command: str) -> None:
    """No escape sequence where no terminal is; with --color always there is."""
    assert "\x1b" not in cf(command).out


@pytest.mark.usefixtures("pushed")
def test_colour_can_be_forced(run: Any, api: FakeApi) -> None:
    """For `| less -R`."""
    assert "\x1b[1m" in run("--color", "always", "--api", api.url, "apps").out
    assert "\x1b" not in run("--color", "never", "--api", api.url, "apps").out


@pytest.mark.usefixtures("pushed")
def test_read_commands_are_pure_json_on_request(cf: Any) -> None:
    """One value, nothing before, nothing after, nothing on stderr."""
    for command in (["apps"], ["app", "hello"], ["routes"], ["droplets", "hello"],
                    ["logs", "hello"], ["wait"]):  # fmt: skip
        done = cf(*command, "--output", "json")
        json.loads(done.out)
        assert done.err == ""
