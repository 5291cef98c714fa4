"""What an app says in a burst arrives at a client that follows it: every line, once, in order."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import trio

from tests.person import Person

from .conftest import Desk

LINES = 10_000
ENVELOPE = {"timestamp", "source_id", "instance_id", "deprecated_tags", "tags", "log"}
#: Says LINES lines as fast as it can, each with a flush of its own, when it is asked to.
SHOUTER = f"""
import http.server, os, sys
class Shouter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        for number in range({LINES}):
            print(number, "x" * 150, flush=True)
        self.send_response(204)
        self.end_headers()
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Shouter).serve_forever()
"""


async def follow(person: Person, app: str, start: int, instances: int, **query: str) -> list[Any]:
    """Read as ``cf logs`` does, until as many lines of the app itself are there as are due.

    The first read looks for the youngest envelope of any kind; each next one starts a
    nanosecond after the last envelope that was seen.
    """
    seen: list[Any] = []
    own = 0
    with trio.fail_after(60):
        while own < instances * LINES:
            words = "&".join(f"{key}={value}" for key, value in query.items())
            answer = await person.call(
                "GET", f"/api/v1/read/{app}?envelope_types=LOG&start_time={start}&{words}"
            )
            batch = answer["envelopes"]["batch"]
            seen += batch
            own += sum(each["tags"]["source_type"] == "APP/PROC/WEB" for each in batch)
            start = int(batch[-1]["timestamp"]) + 1 if batch else start
    return seen


async def youngest(person: Person, app: str) -> int:
    """The timestamp of the app's youngest envelope."""
    answer = await person.call("GET", f"/api/v1/read/{app}?limit=1&descending=true")
    return int(answer["envelopes"]["batch"][0]["timestamp"])


def check(seen: list[Any], app: str, instances: int) -> None:
    """Strict envelopes, ascending times, and each instance's numbers from first to last."""
    stamps = [int(each["timestamp"]) for each in seen]
    assert stamps == sorted(set(stamps))
    assert all(each.keys() == ENVELOPE and each["source_id"] == app for each in seen)
    for instance in range(instances):
        told = [
            int(base64.b64decode(each["log"]["payload"]).split()[0])
            for each in seen
            if each["tags"]["source_type"] == "APP/PROC/WEB"
            and each["instance_id"] == str(instance)
        ]
        assert told == list(range(LINES))


async def test_a_burst_is_followed_without_loss_or_repetition(desk: Desk, tmp_path: Path) -> None:
    """Ten thousand lines of one instance, then as many of two at once."""
    person = Person(desk.running.endpoints.api, desk.running.kit.http)
    await person.login()
    app = await person.push("shouter", tmp_path, {"app.py": SHOUTER})

    async def shout(instance: int) -> None:
        answer = await person.http.request(
            "GET",
            desk.running.endpoints.apps,
            headers={"Host": "shouter.apps.localhost", "X-Cf-App-Instance": f"{app}:{instance}"},
        )
        assert answer.status == 204, answer.body

    for instances, query in ((1, {}), (2, {"limit": "1000"})):
        await person.call(
            "POST", f"/v3/apps/{app}/processes/web/actions/scale", {"instances": instances}
        )
        with trio.fail_after(30):
            while await person.states(app) != ["RUNNING"] * instances:
                await trio.lowlevel.checkpoint()
        start = await youngest(person, app) + 1
        async with trio.open_nursery() as nursery:
            for instance in range(instances):
                nursery.start_soon(shout, instance)
            seen = await follow(person, app, start, instances, **query)
        check(seen, app, instances)
