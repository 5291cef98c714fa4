"""Health and readiness while an instance runs, its log limit, and the figures that are told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.dea.checks import INTERVAL, Check, check_for, readiness_for
from appliance.dea.messages import FindDroplet, FoundInstance, Limits, Stop
from appliance.dea.rates import LogLimit

#: Answers with the status in the file "status", or 200; says when it is asked to end.
MOODY = """\
import http.server, os, pathlib, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = pathlib.Path("status")
        status = int(path.read_text()) if path.exists() else 200
        if status == 0: time.sleep(600)
        self.send_response(status); self.end_headers()
    def log_message(self, *rest): pass
def end(*_): os.write(1, b"asked to end\\n"); os._exit(0)
signal.signal(signal.SIGTERM, end)
print("listening", flush=True)
place = os.environ["VCAP_APP_HOST"], int(os.environ["PORT"])
http.server.ThreadingHTTPServer(place, Handler).serve_forever()
"""
NO_ROUTE: dict[str, Any] = {"uris": [], "port_wanted": False}


def mood(root: Path, status: int) -> None:
    """Have the one instance below *root* answer with *status* from now on."""
    (folder,) = (root / "apps").iterdir()
    new = folder / "app" / "new"
    new.write_text(str(status))
    new.chmod(0o644)
    new.rename(folder / "app" / "status")


@pytest.mark.parametrize(
    ("status", "wrong"),
    [(500, "received status code 500 in "), (0, "timed out after 0.30 seconds")],
)
async def test_who_becomes_unhealthy_crashes(
    make_world: Any, app: Any, root: Path, status: int, wrong: str
) -> None:
    """First it is asked to end, and gets no requests any more; the sentence says what was wrong."""
    check = {"type": "http", "endpoint": "/h", "interval": 0.05, "invocation_timeout": 0.3}
    async with make_world(root=root) as world:
        world.start(world.order(app(MOODY), health_check=check))
        await world.running()
        mood(root, status)
        gone = await world.exited()
    assert gone["reason"] == "CRASHED"
    said = gone["exit_description"]
    assert said.startswith("Instance became unhealthy: Failed to make HTTP request to '/h' on port")
    assert wrong in said
    assert "asked to end" in world.lines()
    assert said.endswith(world.lines("HEALTH")[0])
    assert "Container became unhealthy" in world.lines("CELL")
    subjects = world.subjects()
    assert subjects.index("router.unregister") < subjects.index("droplet.exited")


async def test_a_port_that_closes_is_no_health(world: Any, app: Any) -> None:
    """The process runs on, and yet it is of no use."""
    code = """\
import os, socket, time
s = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
s.accept(); s.close()
time.sleep(600)
"""
    check = {"type": "port", "interval": 0.05}
    world.start(world.order(app(code), health_check=check))
    gone = await world.exited()
    assert gone["exit_description"].startswith(
        "Instance became unhealthy: Failed to make TCP connection to port "
    )
    assert gone["exit_description"].endswith(": connection refused")


async def test_an_instance_that_is_asked_to_end_need_not_be_healthy(world: Any, app: Any) -> None:
    """It has stopped, not crashed, however long it takes and whatever it answers then."""
    code = MOODY.replace("os._exit(0)", "server.socket.close(); time.sleep(0.5); os._exit(0)")
    code = code.replace("http.server.Threading", "server = http.server.Threading")
    code = code.replace(".serve_forever()", "\nserver.serve_forever()")
    check = {"type": "port", "interval": 0.05}
    world.start(world.order(app(code), health_check=check, readiness_health_check=check))
    await world.running()
    world.kit.publish(Stop(droplet="d1"))
    gone = await world.exited()
    assert "asked to end" in world.lines()
    assert (gone["reason"], gone["exit_status"]) == ("STOPPED", 0)
    assert len(world.lines("HEALTH")) == 2


async def test_a_process_check_looks_at_nothing_else(world: Any, app: Any) -> None:
    """Without a port that answers, it runs all the same; its log has no word of health."""
    check = {"type": "process", "interval": 0.01}
    world.start(world.order(app("import time; time.sleep(600)"), health_check=check))
    await world.running()
    assert [line for line in world.lines("CELL") if "health" in line] == []


async def test_an_unready_instance_runs_without_requests(
    make_world: Any, app: Any, root: Path
) -> None:
    """Out of the routers and back in, as its readiness goes; heartbeats tell of it."""
    ready = {"type": "http", "endpoint": "/ready", "interval": 0.05}
    async with make_world(root=root) as world:

        async def told(routable: bool, count: int = 1) -> None:
            def is_told(body: dict[str, Any]) -> bool:
                (one,) = body["droplets"]
                return (one["state"], one["routable"]) == ("RUNNING", routable)

            await world.wait_for("dea.heartbeat", is_told, count)

        world.start(world.order(app(MOODY), readiness_health_check=ready))
        await told(routable=False)
        await told(routable=True)
        await world.running()
        mood(root, 503)
        await world.wait_for("router.unregister")
        await told(routable=False, count=2)
        async with world.kit.ask_all(FindDroplet(droplet="d1"), FoundInstance) as answers:
            found = (await answers.__anext__()).body
        assert (found.state, found.routable) == ("RUNNING", False)
        mood(root, 200)
        await world.running(2)
        assert "droplet.exited" not in world.subjects()
    assert [line.split(".")[0] for line in world.lines("HEALTH")] == [
        "Starting readiness health monitoring of container",
        "Container passed the readiness health check",
        "Container failed the readiness health check",
        "Container passed the readiness health check",
    ]


async def test_too_many_lines_are_dropped_with_a_word(make_world: Any, app: Any) -> None:
    """The first that fit, then one line of ours; the figures know how much was said."""
    code = """\
import sys, time
sys.stdout.write(("x" * 10 + "\\n") * 100)
while True:
    print("y", flush=True)
    time.sleep(0.01)
"""
    limits = Limits(mem=128, disk=256, fds=512, log_rate=55)
    question = FindDroplet(droplet="d1", include_stats=True)
    async with make_world(monitor=0.05) as world:
        world.start(world.order(app(code), limits=limits, **NO_ROUTE))
        await world.line("app instance exceeded log rate limit (55 bytes/sec)")
        rate = 0.0
        with trio.fail_after(10):
            while not rate:
                async with world.kit.ask_all(question, FoundInstance) as answers:
                    stats = (await answers.__anext__()).body.stats
                rate = stats.usage.log_rate if stats and stats.usage else 0.0
    assert world.lines()[:5] == ["x" * 10] * 5
    assert world.lines()[5].startswith("app instance exceeded")
    assert stats.log_rate_limit == 55


# Decisions.


def test_checks_as_orders_give_them() -> None:
    """What is left out, or makes no sense, is as usual."""
    check = check_for({"type": "http", "interval": 2, "invocation_timeout": 3}, 1, 60)
    assert (check.interval, check.patience, check.endpoint) == (2, 3, "/")
    usual = check_for({"type": "port", "interval": -1}, 1, 60)
    assert (usual.interval, usual.patience) == (INTERVAL, 1)
    assert check_for(None, 1, 60) == Check(kind="port", timeout=60, interval=math.inf)
    assert not readiness_for(None, 1).looks
    assert not readiness_for({"type": "process"}, 1).looks
    assert not readiness_for({"type": "http"}, None).looks
    assert readiness_for({"type": "port"}, 1).kind == "port"


def test_a_log_limit_is_silent_for_a_second() -> None:
    """One notice for each time that it was passed."""
    limit = LogLimit(10, now=0)
    notice = "app instance exceeded log rate limit (10 bytes/sec)"
    assert limit.admit(["12345", "12345", "1", "2"], 0) == (["12345", "12345", notice], 10)
    assert limit.admit(["1"], 0.9) == ([], 0)
    assert limit.admit(["12", "123456789"], 1.0) == (["12", notice], 2)


def test_no_log_limit_and_no_logs_at_all() -> None:
    """-1 lets everything pass, and counts bytes, not characters; 0 lets nothing pass."""
    assert LogLimit(-1, now=0).admit(["é" * 5] * 3, 0) == (["é" * 5] * 3, 30)
    assert LogLimit(0, now=0).admit(["x"], 5) == ([], 0)
