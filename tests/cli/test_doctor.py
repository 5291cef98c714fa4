"""Each check of `doctor`: how it is, why, and what to do."""

import os
import shutil
import socket
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import settings
from appliance.commands import checks
from appliance.config import Config
from appliance.endpoints import Endpoints
from appliance.kernel.process.spawner import open_spawner

FREE = settings.load(environ={}, flags={"port": 0}).config


def test_free_ports_are_fine() -> None:
    """One line for each listener."""
    found = list(checks.ports(FREE, None))
    assert {check.result for check in found} == {"ok"}
    assert len(found) == 8


def test_a_port_that_is_taken_names_the_holder() -> None:
    """And another block of ports."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = replace(FREE, router=replace(FREE.router, bind=f"127.0.0.1:{port}"))
        (taken,) = [c for c in checks.ports(config, None) if c.result != "ok"]
        assert (taken.name, taken.result) == ("port for apps", "fail")
        assert f"127.0.0.1:{port} is taken by this process" in taken.why
        assert "--port 7800" in taken.fix

        running = Endpoints(api="http://127.0.0.1:1", apps=f"http://127.0.0.1:{port}")
        assert {c.result for c in checks.ports(config, running)} == {"ok"}


def test_names_that_resolve() -> None:
    """To this machine, whatever its loopback address."""
    check = checks.name_resolution("apps.localhost", lambda host: "127.0.0.1")
    assert (check.result, check.why) == ("ok", "hello.apps.localhost is 127.0.0.1")


def test_names_that_do_not_resolve() -> None:
    """A warning: browsers and curl do it by themselves."""

    def unknown(host: str) -> str:
        raise socket.gaierror

    check = checks.name_resolution("apps.localhost", unknown)
    assert check.result == "warn"
    assert "127.0.0.1 hello.apps.localhost" in check.fix


def test_names_that_lead_elsewhere() -> None:
    """A company's DNS that answers for everything."""
    check = checks.name_resolution("apps.localhost", lambda host: "10.1.2.3")
    assert (check.result, check.why) == (
        "warn",
        "hello.apps.localhost leads to 10.1.2.3, which is another machine",
    )


def test_runtimes() -> None:
    """What is missing says what cannot be pushed, and what to install."""
    found = {c.name: c for c in checks.runtimes(lambda name: "/bin/x" if name == "php" else None)}
    assert found["php"].result == "ok"
    assert found["go"] == checks.Check(
        name="go", result="warn", why="not installed: no Go apps", fix="install golang-go"
    )


@pytest.mark.parametrize(
    ("free", "result"), [(50 * 2**30, "ok"), (2**30, "warn"), (100 * 2**20, "fail")]
)
def test_disk_space(
    free: int, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the state folder's disk, though the folder may not exist yet."""
    usage = namedtuple("usage", "total used free")
    asked: list[Path] = []

    def measured(folder: Path) -> Any:
        asked.append(folder)
        return usage(0, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", measured)
    check = checks.disk_space(Config(state=tmp_path / "not" / "yet"))
    assert check.result == result
    assert asked == [tmp_path]
    assert bool(check.fix) == (result != "ok")


def test_the_endpoints_file(tmp_path: Path) -> None:
    """Absent, alive, stale, or nonsense."""
    path = tmp_path / "endpoints.json"
    assert checks.running_appliance(path)[0].result == "ok"

    alive = Endpoints(api="http://127.0.0.1:1", pid=os.getpid())
    alive.write(path)
    check, running = checks.running_appliance(path)
    assert (check.result, running) == ("ok", alive)

    replace(alive, pid=2**22 + 1).write(path)
    check, running = checks.running_appliance(path)
    assert (check.result, check.fix, running) == ("warn", f"rm {path}", None)

    path.write_text("nonsense")
    assert checks.running_appliance(path)[0].result == "fail"


def test_the_state_folder(tmp_path: Path) -> None:
    """Free, in use, or a file in the way."""
    assert checks.state_folder(Config()) is None
    fresh = checks.state_folder(Config(state=tmp_path / "new"))
    assert fresh is not None
    assert fresh.why.endswith("is free to use")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "controller").touch()
    used = checks.state_folder(Config(state=tmp_path / "used"))
    assert used is not None
    assert used.why.endswith("holds an appliance's state")
    wrong = checks.state_folder(Config(state=tmp_path / "used" / "controller"))
    assert wrong is not None
    assert wrong.result == "fail"


@pytest.mark.parametrize(
    ("script", "result", "why"),
    [
        ("echo 'cf version 8.18.4+abc.2026-01-01'", "ok", "cf version 8.18.4+abc.2026-01-01"),
        ("echo 'cf version 7.3.0+abc'", "warn", "cf version 7.3.0+abc"),
        ("exit 1", "warn", "does not run"),
    ],
)
async def test_the_version_of_cf(tmp_path: Path, script: str, result: str, why: str) -> None:
    """It is asked, not guessed."""
    cf = tmp_path / "cf"
    cf.write_text(f"#!/bin/sh\n{script}\n")
    cf.chmod(0o755)
    async with open_spawner("off") as spawner:
        check = await checks.cf_cli(spawner, {"PATH": str(tmp_path)})
    assert (check.result, why in check.why) == (result, True)


async def test_cf_is_not_needed(tmp_path: Path) -> None:
    """Our own push does without."""
    async with open_spawner("off") as spawner:
        assert (await checks.cf_cli(spawner, {"PATH": str(tmp_path)})).result == "ok"


def test_the_whole_report(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 exactly when something has to be mended."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        for room in (
            "CONTROLLER",
            "ROUTER",
            "REGISTRY",
            "PACKAGE_CACHE",
            "ARCHIVER",
            "DEA",
            "NATS",
        ):
            monkeypatch.setenv(f"APPLIANCE_{room}_BIND", "127.0.0.1:0")
        good = run("doctor", "--output", "json")
        assert (good.code, good.json["ok"]) == (0, True)
        names = [check["name"] for check in good.json["checks"]]
        assert {"endpoints file", "disk space", "sandbox", "python3", "cf CLI"} <= set(names)

        monkeypatch.setenv("APPLIANCE_ROUTER_BIND", f"127.0.0.1:{port}")
        bad = run("doctor")
        assert bad.code == 1
        (line,) = [line for line in bad.out.splitlines() if "port for apps" in line][:1]
        assert line.startswith("fail")
        assert "TIP: port for apps: " in bad.out


def test_requests_for_what_is_not_there_are_told() -> None:
    """Who uses a client that the API does not satisfy learns what it asked for."""
    assert checks.unknown_requests([]).result == "ok"

    check = checks.unknown_requests([{"method": "GET", "path": "/v3/clouds", "times": 3}])

    assert (check.result, check.why) == ("warn", "clients asked for GET /v3/clouds (3x)")
