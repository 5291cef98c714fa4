"""log-cache, whose answers are read by a strict decoder."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from appliance.logs.messages import Line, LogLines

from .cli import Cf
from .installation import Installation
from .reads import App
from .steps import look, new_app, pushed

EARLIEST = -6795364578871345152  # "from the beginning", as the CLI writes it
KEYS = {"timestamp", "source_id", "instance_id", "deprecated_tags", "tags"}
KINDS = {"log": {"payload", "type"}, "counter": None, "gauge": None, "timer": None, "event": None}


def read(cf: Cf, source: str, query: str = "") -> list[dict[str, Any]]:
    """The envelopes, each of which is one that the CLI can decode."""
    answer = cf.send("GET", f"/api/v1/read/{source}?{query}", status=200).json
    assert answer.keys() == {"envelopes"}
    assert answer["envelopes"].keys() <= {"batch"}
    batch = answer["envelopes"].get("batch", [])
    for envelope in batch:
        [kind] = envelope.keys() - KEYS
        assert kind in KINDS, envelope
        assert isinstance(envelope["timestamp"], str), envelope
        assert int(envelope["timestamp"]) > 0
        assert all(isinstance(value, str) for value in envelope["tags"].values())
        if kind == "log":
            assert envelope["log"].keys() == KINDS["log"]
            assert envelope["log"]["type"] in ("OUT", "ERR")
            assert not payload(envelope).endswith("\n")
    return list(batch)


def payload(envelope: dict[str, Any]) -> str:
    """The line."""
    return base64.b64decode(envelope["log"]["payload"], validate=True).decode()


def times(batch: list[dict[str, Any]]) -> list[int]:
    """In nanoseconds."""
    return [int(envelope["timestamp"]) for envelope in batch]


def say(installation: Installation, app: str, *texts: str, at: int | None = None) -> None:
    """Have the app say something, all of it at one time."""
    now = time.time_ns() if at is None else at
    lines = [Line(timestamp=now, text=text, source_type="APP/PROC/WEB") for text in texts]
    message, subject = LogLines(source=app, lines=lines), f"logs.lines.{app}"
    installation.run(lambda: installation.cloud.kit.publish(message, subject=subject))


def said(cf: Cf, app: str, text: str) -> list[dict[str, Any]]:
    """All envelopes, once *text* is among them."""
    for _ in range(1000):
        batch = read(cf, app, "envelope_types=LOG&limit=1000")
        if any(payload(one) == text for one in batch):
            return batch
    raise AssertionError(f"nobody has said {text}")


def test_there_is_an_envelope_when_the_app_is_there(cf: Cf) -> None:
    """The stream begins with any envelope at all: early staging lines would be lost without."""
    app = look(cf, new_app(cf).name)

    for _ in range(1000):
        [*batch] = read(cf, app.guid, f"descending=true&limit=1&start_time={EARLIEST}")
        if batch:
            break
    [first] = batch
    assert payload(first) == f"Created app with guid {app.guid}"
    assert (first["source_id"], first["tags"]["source_type"]) == (app.guid, "API")


def test_recent_logs_come_in_one_read(cf: Cf, installation: Installation) -> None:
    """The newest first; types and instances are as they are shown in brackets."""
    app = new_app(cf)
    say(installation, app.guid, "one", "two", "")
    say(installation, app.guid, "three")
    said(cf, app.guid, "three")

    batch = read(cf, app.guid, "descending=true&envelope_types=LOG&limit=1000")

    texts = [payload(one) for one in batch]
    assert texts[:4] == ["three", "", "two", "one"]
    assert (batch[0]["tags"]["source_type"], batch[0]["instance_id"]) == ("APP/PROC/WEB", "0")
    assert times(batch) == sorted(times(batch), reverse=True)


def test_times_are_unique_and_never_go_back(cf: Cf, installation: Installation) -> None:
    """Lines of one moment, and of one that is past, are told apart: a page ends between two."""
    app, now = new_app(cf), time.time_ns()
    say(installation, app.guid, *(f"line {number}" for number in range(50)), at=now)
    say(installation, app.guid, "late", at=now - 10**9)
    batch = said(cf, app.guid, "late")

    stamps = times(batch)
    assert len(set(stamps)) == len(stamps)
    assert stamps == sorted(stamps)


def test_a_stream_loses_no_line_between_two_pages(cf: Cf, installation: Installation) -> None:
    """As the CLI follows: from a second before the first, then from the last plus one."""
    app = new_app(cf)
    wanted = [f"line {number}" for number in range(250)]
    say(installation, app.guid, *wanted)
    said(cf, app.guid, wanted[-1])

    [newest] = read(cf, app.guid, f"descending=true&limit=1&start_time={EARLIEST}")
    start, found = int(newest["timestamp"]) - 10**9, []
    while batch := read(cf, app.guid, f"envelope_types=LOG&start_time={start}"):
        assert len(batch) <= 100  # the default
        found += [payload(one) for one in batch]
        start = times(batch)[-1] + 1

    assert [text for text in found if text.startswith("line")] == wanted


def test_end_time_is_no_part_of_it(cf: Cf, installation: Installation) -> None:
    """Start is."""
    app = new_app(cf)
    say(installation, app.guid, "one", "two", "three")
    one, two, three = [
        int(envelope["timestamp"])
        for envelope in said(cf, app.guid, "three")
        if payload(envelope) in ("one", "two", "three")
    ]

    batch = read(cf, app.guid, f"start_time={one}&end_time={three}")
    assert times(batch) == [one, two]


@pytest.mark.parametrize(
    "query",
    [
        "envelope_types=LOG&envelope_types=COUNTER",
        "envelope_types=ANY",
        "limit=1000",
        "limit=0",
        f"start_time={EARLIEST}",
        f"start_time={2**63 - 1}",
    ],
)
def test_queries_of_every_kind_are_answered(cf: Cf, query: str) -> None:
    """With an envelope or none."""
    read(cf, new_app(cf).guid, query)


@pytest.mark.parametrize("query", ["start_time=x", "limit=x", "envelope_types=NOISE"])
def test_bad_queries_are_400(cf: Cf, query: str) -> None:
    """Not a 500: the CLI gives up after five of those."""
    answer = cf.send("GET", f"/api/v1/read/{new_app(cf).guid}?{query}")

    assert (answer.status, answer.json["errors"][0]["title"]) == (400, "CF-BadQueryParameter")


def test_logs_are_for_who_may_read_them(cf: Cf, anonymous: Cf) -> None:
    """401 without a token; what one does not see is not there."""
    app = new_app(cf)

    assert anonymous.send("GET", f"/api/v1/read/{app.guid}").status == 401
    assert cf.send("GET", "/api/v1/read/nothing").status == 404


def test_people_are_told_what_was_done(cf: Cf) -> None:
    """In lines of the type API, as they expect them."""
    app = pushed(cf)
    own = f"/v3/apps/{app.guid}"
    for action in ("start", "stop", "restart"):
        cf.post(f"{own}/actions/{action}", None, App, 200)
    cf.patch(own, {"name": "b"}, App)

    verbs = ("Created", "Creating build for", "Starting", "Stopping", "Restarted", "Updated")
    wanted = {f"{verb} app with guid {app.guid}" for verb in verbs}
    for _ in range(1000):
        batch = read(cf, app.guid, "envelope_types=LOG&limit=1000")
        told = {payload(one) for one in batch if one["tags"]["source_type"] == "API"}
        if wanted <= told:
            return
    raise AssertionError(f"nobody has said {wanted - told}")
