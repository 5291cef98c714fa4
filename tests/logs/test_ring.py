"""The ring: bounds, order, uniqueness of timestamps, and what a reader gets."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.logs.messages import LIMIT, Gauge, Line, Metric, ReadLogs
from appliance.logs.ring import LINE_COST, MAX_TEXT, Ring

NOW = 1_769_860_800_000_000_000  # nanoseconds
PLENTY = 1 << 40  # bytes


def line(text: str = "hello", stamp: int = NOW, **more: Any) -> Line:
    return Line(timestamp=stamp, text=text, source_type=more.pop("source_type", "STG"), **more)


def ring(*, per_source: int = PLENTY, total: int = PLENTY) -> Ring:
    return Ring(per_source=per_source, total=total)


def read(of: Ring, source: str = "app", *, budget: int = PLENTY, **query: Any) -> list[Any]:
    query.setdefault("limit", LIMIT)
    return of.read(ReadLogs(source=source, **query), budget=budget)


def payloads(batch: list[Any]) -> list[str]:
    return [base64.b64decode(envelope["log"]["payload"]).decode() for envelope in batch]


def stamps(batch: list[Any]) -> list[int]:
    return [int(envelope["timestamp"]) for envelope in batch]


def test_envelope_is_that_of_log_cache() -> None:
    """Every key and no other: clients refuse unknown ones."""
    lines = ring()
    web = {"process_type": "web", "app_name": "app1"}
    lines.add("app", [line("hello\n", source_type="APP/PROC/WEB", instance="1", tags=web)], NOW)
    lines.add("app", [line("über", NOW + 1, error=True)], NOW + 1)

    assert read(lines) == [
        {
            "timestamp": "1769860800000000000",
            "source_id": "app",
            "instance_id": "1",
            "deprecated_tags": {},
            "tags": {"source_type": "APP/PROC/WEB", "process_type": "web", "app_name": "app1"},
            "log": {"payload": "aGVsbG8=", "type": "OUT"},
        },
        {
            "timestamp": "1769860800000000001",
            "source_id": "app",
            "instance_id": "0",
            "deprecated_tags": {},
            "tags": {"source_type": "STG"},
            "log": {"payload": "w7xiZXI=", "type": "ERR"},
        },
    ]


def test_ties_become_a_nanosecond_younger() -> None:
    """Equal and older timestamps move behind the last one, in order of arrival."""
    lines = ring()
    lines.add("app", [line("a"), line("b"), line("c", NOW - 5), line("d", NOW + 2)], NOW + 10)

    assert payloads(read(lines)) == ["a", "b", "c", "d"]
    assert stamps(read(lines)) == [NOW, NOW + 1, NOW + 2, NOW + 3]


def test_sources_have_timestamps_of_their_own() -> None:
    """What one app logs does not shift the lines of another."""
    lines = ring()
    lines.add("one", [line("a")], NOW)
    lines.add("two", [line("b")], NOW)

    assert stamps(read(lines, "one")) == stamps(read(lines, "two")) == [NOW]


def test_a_wrong_clock_does_not_push_later_lines_into_the_future() -> None:
    """Lines of the future are as old as their arrival."""
    lines = ring()
    lines.add("app", [line("a", NOW + 10**18)], NOW)
    lines.add("app", [line("b", NOW + 7)], NOW + 7)
    lines.add("app", [line("c", -(10**30))], NOW + 9)

    assert stamps(read(lines)) == [NOW, NOW + 7, NOW + 8]


def test_reading_between_times() -> None:
    """The start is inclusive, the end is not; both may be absurd."""
    lines = ring()
    lines.add("app", [line(str(n), NOW + 10 * n) for n in range(5)], NOW + 100)

    assert payloads(read(lines, start_time=NOW + 10, end_time=NOW + 30)) == ["1", "2"]
    assert payloads(read(lines, start_time=NOW + 31)) == ["4"]
    assert payloads(read(lines, start_time=-6795364578871345152, end_time=NOW + 1)) == ["0"]
    assert payloads(read(lines, start_time=NOW + 30, end_time=NOW + 10)) == []
    assert payloads(read(lines, start_time=NOW + 41)) == []
    assert read(lines, "another app") == []


def test_reading_from_both_ends() -> None:
    """Ascending gives the oldest that fit, descending the youngest, youngest first."""
    lines = ring()
    lines.add("app", [line(str(n), NOW + n) for n in range(5)], NOW + 100)

    assert payloads(read(lines, limit=2)) == ["0", "1"]
    assert payloads(read(lines, limit=2, descending=True)) == ["4", "3"]
    assert payloads(read(lines, descending=True, end_time=NOW + 4, limit=3)) == ["3", "2", "1"]
    assert payloads(read(lines, descending=True)) == ["4", "3", "2", "1", "0"]
    assert read(lines, limit=0) == read(lines, limit=-1, descending=True) == []


def test_limit_is_capped() -> None:
    """More than a thousand are never given at once; 100 is the default."""
    lines = ring()
    lines.add("app", [line(str(n), NOW + n) for n in range(1500)], NOW + 2000)

    assert len(read(lines, limit=5000)) == LIMIT
    assert len(lines.read(ReadLogs(source="app"), budget=PLENTY)) == 100


def test_only_logs_are_kept() -> None:
    """LOG, ANY and no type at all find lines; other envelope types find nothing."""
    lines = ring()
    lines.add("app", [line()], NOW)

    for types in ([], ["LOG"], ["ANY"], ["GAUGE", "LOG"]):
        assert len(read(lines, types=types)) == 1
    assert read(lines, types=["GAUGE"]) == []


@given(
    st.lists(st.text(max_size=50), max_size=30),
    st.integers(min_value=1, max_value=6000),
    st.booleans(),
)
def test_answers_stay_below_the_budget(texts: list[str], budget: int, descending: bool) -> None:
    """As JSON, unless it is a single envelope; and what is given is the nearest part."""
    lines = ring()
    lines.add("app", [line(text, NOW + n, tags={"ä": '"'}) for n, text in enumerate(texts)], NOW)

    everything = read(lines, descending=descending)
    batch = read(lines, budget=budget, descending=descending)
    assert batch == everything[: len(batch)]
    assert batch or not everything
    assert len(batch) <= 1 or len(msgspec.json.encode(batch)) <= budget


def test_oldest_lines_make_room_in_their_source() -> None:
    """Text and a fixed cost per line count; drops are counted."""
    lines = ring(per_source=10 * (LINE_COST + 3) + 300)
    lines.add("app", [line(f"{n:03}", NOW + n) for n in range(100)], NOW + 200)

    kept = payloads(read(lines))
    assert kept[-1] == "099"
    assert kept == [f"{n:03}" for n in range(100 - len(kept), 100)]
    assert 10 <= len(kept) <= 15
    assert lines.dropped == 100 - len(kept)


def test_empty_lines_end_too() -> None:
    """They cost something."""
    lines = ring(per_source=1000)
    for n in range(1000):
        lines.add("app", [line("", NOW + n)], NOW + n)

    assert 0 < len(read(lines)) < 20


def test_a_loud_app_silences_no_quiet_one() -> None:
    """When the total is reached, the source that has most gives."""
    lines = ring(total=20_000)
    lines.add("quiet", [line("important")], NOW)
    for n in range(1000):
        lines.add("loud", [line("x" * 100, NOW + n)], NOW + n)
        assert lines.bytes <= 20_000

    assert payloads(read(lines, "quiet")) == ["important"]
    assert payloads(read(lines, "loud", limit=1, descending=True)) == ["x" * 100]
    assert lines.dropped + len(read(lines, "loud")) == 1000


def test_total_holds_for_many_small_sources() -> None:
    """Sources that have nothing left are forgotten, and their drops still counted."""
    lines = ring(total=5_000)
    for n in range(500):
        lines.add(f"app{n}", [line("x" * 50)], NOW)
        assert lines.bytes <= 5_000

    assert lines.dropped + sum(len(read(lines, f"app{n}")) for n in range(500)) == 500
    assert payloads(read(lines, "app499")) == ["x" * 50]


def test_a_line_above_the_bound_is_dropped_and_counted() -> None:
    """It leaves an empty source that works on."""
    lines = ring(per_source=500)
    lines.add("app", [line("x" * 1000)], NOW)
    assert (read(lines), lines.dropped) == ([], 1)

    lines.add("app", [line("y", NOW + 1)], NOW + 1)
    assert payloads(read(lines)) == ["y"]


def test_long_lines_are_split() -> None:
    """Into envelopes that fit into one answer, without losing a character."""
    lines = ring()
    text = "ä" * (MAX_TEXT + 10)
    lines.add("app", [line(text), line("next")], NOW)

    parts = payloads(read(lines))
    assert [len(part) for part in parts] == [MAX_TEXT, 10, 4]
    assert "".join(parts) == text + "next"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), max_size=5),
        ),
        max_size=40,
    )
)
def test_bounds_and_order_always_hold(batches: list[tuple[str, list[tuple[int, int]]]]) -> None:
    """Whatever comes: bounded, ascending, unique, the youngest kept, nothing uncounted."""
    lines = ring(per_source=1500, total=3000)
    sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for source, batch in batches:
        texts = [f"{len(sent[source]) + n}-{'x' * size}" for n, (_, size) in enumerate(batch)]
        sent[source] += texts
        lines.add(
            source,
            [line(text, NOW + stamp) for text, (stamp, _) in zip(texts, batch, strict=True)],
            NOW + 50,
        )
        assert lines.bytes <= 3000
    kept = 0
    for source, texts in sent.items():
        batch_read = read(lines, source)
        found = stamps(batch_read)
        assert found == sorted(set(found))
        assert payloads(batch_read) == texts[len(texts) - len(found) :]
        kept += len(found)
    assert kept + lines.dropped == sum(map(len, sent.values()))


def test_envelopes_are_plain_json() -> None:
    """No type that a JSON encoder does not know."""
    lines = ring()
    lines.add("app", [line()], NOW)

    assert json.loads(json.dumps(read(lines))) == read(lines)


def test_gauges_are_among_the_lines_in_their_order() -> None:
    """Each with a timestamp of its own; who asks for one kind gets no other."""
    lines = ring()
    used = Gauge(
        timestamp=NOW,
        source_type="APP/PROC/WEB",
        instance="1",
        metrics={"cpu": Metric(unit="percentage", value=1.5)},
        tags={"process_id": "p"},
    )
    lines.add("app", [line("a")], NOW, [used])
    lines.add("app", [line("b")], NOW)

    assert read(lines, types=["GAUGE"]) == [
        {
            "timestamp": str(NOW + 1),
            "source_id": "app",
            "instance_id": "1",
            "deprecated_tags": {},
            "tags": {"process_id": "p", "source_type": "APP/PROC/WEB"},
            "gauge": {"metrics": {"cpu": {"unit": "percentage", "value": 1.5}}},
        }
    ]
    assert payloads(read(lines, types=["LOG"])) == ["a", "b"]
    assert payloads(read(lines, types=["LOG"], descending=True, limit=1)) == ["b"]
    assert stamps(read(lines)) == stamps(read(lines, types=["ANY"])) == [NOW, NOW + 1, NOW + 2]
    assert read(lines, types=["COUNTER"]) == []
