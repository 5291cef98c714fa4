"""`appliance push` against an API that behaves as ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_api import FakeApi

FAILURE = {
    "error": "NoAppDetectedError - No plugin recognised the app (tried python, node).",
    "appliance": {
        "failure": {
            "phase": "detect",
            "code": "no-plugin-matched",
            "hint": "Put a Procfile at the top.",
            "exit_code": 21,
        },
        "staging": None,
        "task_log": "[2026-01-31 12:00:00] Detecting\n",
    },
}


def test_a_new_app_is_staged_started_and_asked(cf: Any, api: FakeApi, hello: Path) -> None:
    """The whole flow, told as people read it."""
    done = cf("push", "hello", hello)
    assert done.code == 0, done.err
    assert "Pushing app hello to org dev / space dev as admin..." in done.out
    assert "Detected python" in done.out
    assert f"http://hello.apps.localhost:{api.url.rpartition(':')[2]}" in done.out
    app = api.app_named("hello")
    assert app["state"] == "STARTED"
    assert app["droplet"] in api.droplets


def test_a_build_may_take_its_time(cf: Any, api: FakeApi, hello: Path) -> None:
    """It is looked at until it is over; its log is shown meanwhile, each line once."""
    api.looks_at_builds = 3
    done = cf("push", "hello", hello)
    assert done.code == 0
    assert api.asked("GET", "/v3/builds/") == 3
    assert done.out.count("Staging begins") == 1
    assert done.out.index("Staging begins") < done.out.index("Detected python")


def test_what_is_uploaded_is_the_folder_without_what_is_ignored(
    cf: Any, api: FakeApi, hello: Path
) -> None:
    """Modes arrive; version control does not."""
    cf("push", "hello", hello)
    (package,) = api.packages.values()
    assert set(package) == {"\0app", "app.py", "static/page.html", "start.sh"}
    assert package["app.py"] == b"print('hello')\n"
    assert api.modes["start.sh"] & 0o777 == 0o755


def test_the_result_for_programs_is_one_object(cf: Any, api: FakeApi, hello: Path) -> None:
    """Nothing but JSON, with all that a script may ask for."""
    result = cf("push", "hello", hello, "--output", "json").json
    assert result["app"] == "hello"
    assert result["guid"] == api.app_named("hello")["guid"]
    assert result["url"].startswith("http://hello.apps.localhost:")
    assert result["detected"] == "python"
    assert result["uploaded"]["files"] == 3
    assert result["uploaded"]["bytes"] > 100
    assert result["matched"] == 0
    assert result["sandbox"] == "bubblewrap"
    assert result["droplet"] in api.droplets
    assert result["droplet_sha1"] == "a" * 40
    assert result["instances"] == "1/1"
    assert result["status"] == 200
    phases = result["phases"]
    assert phases["detect"] == 1
    assert phases["store"] == 20
    assert {"prepare", "upload", "stage", "start", "answer", "total"} <= set(phases)


def test_a_second_push_uploads_nothing(cf: Any, api: FakeApi, hello: Path) -> None:
    """Files that the API has are named, not sent; the package is the same."""
    cf("push", "hello", hello)
    result = cf("push", "hello", hello, "--output", "json").json
    assert result["uploaded"] == {"files": 0, "bytes": 0}
    assert result["matched"] == 3
    first, second = ({**p, "\0app": b""} for p in api.packages.values())
    assert first == second


def test_a_changed_file_is_the_only_one_sent(cf: Any, api: FakeApi, hello: Path) -> None:
    """The rest comes from the cache."""
    cf("push", "hello", hello)
    (hello / "app.py").write_text("print('changed')\n")
    result = cf("push", "hello", hello, "--output", "json").json
    assert result["uploaded"]["files"] == 1
    assert list(api.packages.values())[-1]["app.py"] == b"print('changed')\n"


def test_every_request_of_a_push_carries_its_trace(cf: Any, api: FakeApi, hello: Path) -> None:
    """One id for the whole push; what only looks for log lines stays out of the picture."""
    trace = cf("push", "hello", hello, "--output", "json").json["trace"]
    cf("push", "hello", hello)
    sent = list(zip(api.requests, api.headers, strict=True))
    looks = [headers for (_, path), headers in sent if path.startswith("/api/v1/read/")]
    rest = [headers for (_, path), headers in sent if not path.startswith("/api/v1/read/")]
    assert {headers.get("x-appliance-room") for headers in rest} == {"cli"}
    traces = {headers.get("x-vcap-request-id") for headers in rest}
    assert trace in traces
    assert len(traces) == 2  # pushes
    assert looks
    assert all("x-vcap-request-id" not in headers for headers in looks)


def test_a_running_app_is_replaced_by_a_deployment(cf: Any, api: FakeApi, hello: Path) -> None:
    """It is never stopped: the server rolls from one version to the next."""
    cf("push", "hello", hello)
    first = api.app_named("hello")["droplet"]
    done = cf("push", "hello", hello)
    assert done.code == 0, done.err
    assert "Replacing the running version..." in done.out
    assert len(api.deployments) == 1
    assert api.app_named("hello")["droplet"] != first
    assert api.asked("POST", f"/v3/apps/{api.app_named('hello')['guid']}/actions") == 1


def test_a_stopped_app_is_started(cf: Any, api: FakeApi, hello: Path) -> None:
    """There is nothing to roll from."""
    cf("push", "hello", hello, "--no-start")
    assert api.app_named("hello")["state"] == "STOPPED"
    assert cf("push", "hello", hello).code == 0
    assert api.app_named("hello")["state"] == "STARTED"
    assert not api.deployments


def test_no_start_stages_and_stops(cf: Any, api: FakeApi, hello: Path) -> None:
    """`appliance start` has then all that it needs."""
    cf("push", "hello", hello)
    result = cf("push", "hello", hello, "--no-start", "--output", "json").json
    app = api.app_named("hello")
    assert app["state"] == "STOPPED"
    assert app["droplet"] == result["droplet"]
    assert cf("start", "hello").code == 0
    assert app["state"] == "STARTED"


def test_settings_reach_the_process(cf: Any, api: FakeApi, hello: Path) -> None:
    """Sizes by scaling; command and health check by changing the process."""
    done = cf(
        *("push", "hello", hello, "-m", "1G", "-k", "512M", "-i", "2", "-t", "7"),
        *("-c", "python3 other.py", "--health-check", "http", "--endpoint", "/healthy"),
        *("--env", "A=1", "--env", "B=x=y", "-b", "python_buildpack"),
    )
    assert done.code == 0, done.err
    process = api.web("hello")
    assert (process["memory_in_mb"], process["disk_in_mb"]) == (1024, 512)
    assert process["instances"] == 2
    assert process["command"] == "python3 other.py"
    assert process["health_check"]["type"] == "http"
    assert process["health_check"]["data"] == {"timeout": 7, "endpoint": "/healthy"}
    assert api.app_named("hello")["environment"] == {"A": "1", "B": "x=y"}
    assert api.app_named("hello")["lifecycle"]["data"]["buildpacks"] == ["python_buildpack"]


def test_an_app_without_a_route_is_not_asked(cf: Any, api: FakeApi, hello: Path) -> None:
    """And loses the routes that it had."""
    cf("push", "hello", hello)
    result = cf("push", "hello", hello, "--no-route", "--output", "json").json
    assert result["url"] == ""
    assert result["status"] is None
    assert [route["destinations"] for route in api.routes.values()] == [[]]


def test_a_route_that_is_there_is_used_again(cf: Any, api: FakeApi, hello: Path) -> None:
    """A deleted app's route in the same space is no obstacle."""
    cf("push", "hello", hello)
    cf("delete", "hello", "-f", "--keep-routes")
    assert cf("push", "hello", hello).code == 0
    assert len(api.routes) == 1


def test_a_random_route_has_the_name_in_it(cf: Any, api: FakeApi, hello: Path) -> None:
    """Two people can push the same sample."""
    cf("push", "My App", hello, "--random-route")
    (route,) = api.routes.values()
    assert route["host"].startswith("my-app-")
    assert len(route["host"]) == len("my-app-") + 6


def test_the_route_may_take_a_moment(cf: Any, api: FakeApi, hello: Path) -> None:
    """The router's own 404 is not the app's."""
    api.unknown_route_for = 3
    assert cf("push", "hello", hello, "--output", "json").json["status"] == 200


def test_an_answer_of_404_is_the_apps_own(cf: Any, api: FakeApi, hello: Path) -> None:
    """An app without a page at / runs, too."""
    api.answers = [503, 404]
    assert cf("push", "hello", hello, "--output", "json").json["status"] == 404


def test_a_zip_is_pushed_as_it_is(cf: Any, api: FakeApi, tmp_path: Path) -> None:
    """As for jars and wars."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "app.jar", "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Main-Class: Hello\n")
    assert cf("push", "jar", tmp_path / "app.jar").code == 0
    (package,) = api.packages.values()
    assert "META-INF/MANIFEST.MF" in package


def test_a_failed_build_names_phase_reason_and_hint(cf: Any, api: FakeApi, hello: Path) -> None:
    """The stager's exit code is ours; its log has been shown."""
    api.build_failure = FAILURE
    done = cf("push", "hello", hello)
    assert done.code == 21
    assert done.err.splitlines() == [
        "appliance: No plugin recognised the app (tried python, node).",
        "  hint: Put a Procfile at the top.",
    ]
    assert "Staging failed" in done.out
    assert api.app_named("hello")["state"] == "STOPPED"


def test_a_failure_is_json_too(cf: Any, api: FakeApi, hello: Path) -> None:
    """With the phase and the end of the staging log."""
    api.build_failure = FAILURE
    done = cf("push", "hello", hello, "--output", "json")
    assert done.code == 21
    assert done.err == ""
    assert done.json["error"] == {
        "code": "no-plugin-matched",
        "message": "No plugin recognised the app (tried python, node).",
        "exit_code": 21,
        "hint": "Put a Procfile at the top.",
        "phase": "detect",
        "logs": ["[2026-01-31 12:00:00] Detecting"],
        "still_running": False,
    }


def test_another_controllers_failure_is_told_as_well(cf: Any, api: FakeApi, hello: Path) -> None:
    """Without our own object there is still the sentence."""
    api.build_failure = {"error": "StagingError - It broke.", "appliance": None}
    done = cf("push", "hello", hello)
    assert done.code == 20
    assert "appliance: It broke." in done.err


@pytest.mark.parametrize(
    ("details", "code", "exit_code", "hint"),
    [
        ("Exited with status 1", "crashed", 42, "appliance logs"),
        ("Never listened on port 61001 within 2 s", "never-listened", 43, "PORT"),
        (
            "Instance never healthy after 2s: Failed to make HTTP request to '/healthy' on port"
            " 8080: received status code 500 in 3ms",
            "unhealthy",
            44,
            "200 to 399",
        ),
        (
            "APP/PROC/WEB: Exited with status 137 (out of memory), used 70 MB of 64 MB",
            "out-of-memory",
            42,
            "-m",
        ),
        ("Droplet could not be fetched: no", "droplet-unavailable", 42, "trace"),
    ],
)
def test_an_app_that_does_not_run_says_why(
    cf: Any,
    api: FakeApi,
    hello: Path,
    details: str,
    code: str,
    exit_code: int,
    hint: str,
) -> None:
    """The DEA's words, the exit code of the decade, and what to do."""
    api.details = details
    done = cf("push", "hello", hello, "--output", "json")
    assert done.code == exit_code
    error = done.json["error"]
    assert error["phase"] == "start"
    assert error["code"] == code
    assert details in error["message"]
    assert hint in error["hint"]


def test_no_room_is_given_a_moment_then_reported(
    cf: Any, api: FakeApi, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that nobody takes is not a crash."""
    monkeypatch.setattr("appliance.commands.starting.NO_ROOM_FOR", 0.2)
    api.details, api.state_of_faulty = "insufficient resources: no DEA has 256 MB free", "DOWN"
    done = cf("push", "hello", hello)
    assert done.code == 41
    assert api.asked("GET", f"/v3/processes/{api.web('hello')['guid']}/stats") > 1
    assert "insufficient resources" in done.err
    assert "less memory with -m" in done.err


def test_a_crash_shows_the_apps_last_words(cf: Any, api: FakeApi, hello: Path) -> None:
    """What it wrote before it died is what explains it."""
    cf("push", "hello", hello, "--no-start")
    guid = api.app_named("hello")["guid"]
    for number in range(30):
        api.say(guid, "APP/PROC/WEB", f"line {number}")
    api.say(guid, "APP/PROC/WEB", "ImportError: no module named flask", kind="ERR")
    api.details = "Exited with status 1"
    done = cf("start", "hello")
    assert done.code == 42
    assert "[APP/PROC/WEB/0] ERR ImportError: no module named flask" in done.err
    assert "line 29" in done.err
    assert "line 3\n" not in done.err


def test_a_new_version_that_crashes_leaves_the_old_one(cf: Any, api: FakeApi, hello: Path) -> None:
    """The deployment is cancelled, and it is said that nothing has been lost."""
    cf("push", "hello", hello)
    first = api.app_named("hello")["droplet"]
    api.details = "Exited with status 1"
    done = cf("push", "hello", hello)
    assert done.code == 42
    assert "The previous version is still running." in done.err
    (deployment,) = api.deployments.values()
    assert deployment["status"]["reason"] == "CANCELED"
    assert api.app_named("hello")["droplet"] == first


def test_a_cancelled_deployment_restores_the_settings(cf: Any, api: FakeApi, hello: Path) -> None:
    """The old version goes on as it was started, not as the failed push wished."""
    cf("push", "hello", hello, "-m", "128M")
    api.details = "Exited with status 1"
    done = cf("push", "hello", hello, "-m", "64M", "-c", "false", "-u", "process", "-i", "3")
    assert done.code == 42
    process = api.web("hello")
    assert process["memory_in_mb"] == 128
    assert process["command"] is None  # the droplet's own
    assert process["health_check"]["type"] == "port"
    assert process["instances"] == 1


def test_the_log_store_is_not_needed(cf: Any, api: FakeApi, hello: Path) -> None:
    """Without it a push is silent about staging, and succeeds."""
    api.log_store_down = True
    done = cf("push", "hello", hello)
    assert done.code == 0
    assert "The staging log cannot be shown: The log store does not answer." in done.err


def test_an_empty_folder_is_refused_before_anything_is_made(
    cf: Any, api: FakeApi, tmp_path: Path
) -> None:
    """No app is left behind by a wrong folder."""
    (tmp_path / "empty").mkdir()
    done = cf("push", "hello", tmp_path / "empty")
    assert done.code == 1
    assert "There is nothing to push in" in done.err
    assert not api.apps


def test_a_variable_needs_a_value(cf: Any, api: FakeApi, hello: Path) -> None:
    """Wrong usage is exit code 2, and nothing is sent."""
    done = cf("push", "hello", hello, "--env", "A")
    assert done.code == 2
    assert "--env NAME=VALUE" in done.err
    assert not api.requests


def test_requests_are_few(cf: Any, api: FakeApi, hello: Path) -> None:
    """Each costs milliseconds: a first push must not grow by accident."""
    cf("push", "hello", hello, "--output", "json")
    assert len(api.requests) <= 25, json.dumps(api.requests, indent=1)
