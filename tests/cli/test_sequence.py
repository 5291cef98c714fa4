"""The picture of a push, from a list of events."""

from typing import Any

from appliance.commands import sequence

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def served(
    at: float, sender: str, room: str, path: str, ms: float = 5, **more: Any
) -> dict[str, Any]:
    data = {"sender": sender, "method": "GET", "path": path, "status": 200, "ms": ms} | more
    return {"at": at, "room": room, "what": "http.served", "data": data, "trace": "t"}


def received(at: float, sender: str, room: str, subject: str) -> dict[str, Any]:
    data = {"sender": sender, "subject": subject}
    return {"at": at, "room": room, "what": "message.received", "data": data, "trace": "t"}


def happened(at: float, room: str, what: str, **data: Any) -> dict[str, Any]:
    return {"at": at, "room": room, "what": what, "data": data, "trace": "t"}


PUSH = [
    served(1.010, "cli", "controller", "/v3/builds", ms=10, method="POST", status=201),
    received(1.020, "controller", "stager", "staging"),
    happened(1.050, "stager", "phase.finished", phase="detect", ms=3),
    served(1.400, "stager", "controller", f"/staging/app/{GUID}", ms=352),
]


def test_arrows_begin_when_they_were_sent() -> None:
    """A request is told when it is over; in the picture it comes before what it caused."""
    drawn = sequence.steps(PUSH)
    assert [(step.sender, step.room, step.label) for step in drawn] == [
        ("cli", "controller", "POST /v3/builds"),
        ("controller", "stager", "staging"),
        ("stager", "controller", "GET /staging/app/0f8fad5b"),
        ("", "stager", "phase.finished phase=detect ms=3"),
    ]
    assert [round(step.at) for step in drawn] == [0, 20, 48, 50]


def test_as_text() -> None:
    """Times, who to whom in columns, and how it ended."""
    assert sequence.text(sequence.steps(PUSH)) == [
        "      0 ms  cli        ──▶ controller  POST /v3/builds (201, 10 ms)",
        "     20 ms  controller ──▶ stager      staging",
        "     48 ms  stager     ──▶ controller  GET /staging/app/0f8fad5b (200, 352 ms)",
        "     50 ms              ·  stager      phase.finished phase=detect ms=3",
    ]


def test_as_mermaid() -> None:
    """Participants by first appearance; names of ours are only shown, never parsed."""
    assert sequence.mermaid(sequence.steps(PUSH)) == [
        "sequenceDiagram",
        "    participant r0 as cli",
        "    participant r1 as controller",
        "    participant r2 as stager",
        "    r0->>r1: POST /v3/builds (201, 10 ms)",
        "    r1->>r2: staging",
        "    r2->>r1: GET /staging/app/0f8fad5b (200, 352 ms)",
        "    Note over r2: phase.finished phase=detect ms=3",
    ]


def test_what_mermaid_would_read_is_escaped() -> None:
    """A semicolon ends a statement there, and # begins an entity."""
    drawn = sequence.steps([happened(0, "dea", "app.said", text="a; b #1 <br>")])
    assert sequence.mermaid(drawn)[-1] == (
        "    Note over r0: app.said text=a#59; b #35;1 #60;br#62;"
    )


def test_a_client_that_asks_again_and_again_is_one_arrow() -> None:
    """Polling would hide the rest; its last outcome counts."""
    polls = [served(number / 10, "cli", "controller", "/v3/builds/1") for number in range(5)]
    (step,) = sequence.steps([*polls[:-1], polls[-1] | {"data": polls[-1]["data"] | {"ms": 90}}])
    assert step.times == 5
    assert sequence.text([step])[0].endswith("GET /v3/builds/1 (200, 90 ms, 5 times)")


def test_other_requests_in_between_keep_repeats_apart() -> None:
    """What happened in what order stays true."""
    polls = [served(number / 10, "cli", "controller", "/v3/builds/1") for number in range(2)]
    note = happened(0.05, "stager", "phase.finished")
    assert [step.times for step in sequence.steps([polls[0], note, polls[1]])] == [1, 1, 1]


def test_a_client_that_says_nothing_of_itself_is_outside() -> None:
    """cf sends no name."""
    (step,) = sequence.steps([received(0, "", "dea-0", "dea.discover")])
    assert step.sender == sequence.OUTSIDE


def test_identifiers_are_short_and_values_end() -> None:
    """Eight digits tell them apart; a traceback does not fill the screen."""
    assert sequence.shortened(f"/v3/apps/{GUID}/x") == "/v3/apps/0f8fad5b/x"
    assert sequence.shortened("/droplets/" + "ab12" * 10) == "/droplets/ab12ab12"
    (step,) = sequence.steps([happened(0, "dea", "room.failed", why="x" * 500, empty="")])
    assert len(step.label) < 80
    assert "empty" not in step.label


def test_nothing_is_an_empty_picture() -> None:
    """An empty list draws nothing, and breaks nothing."""
    assert sequence.text(sequence.steps([])) == []
    assert sequence.mermaid(sequence.steps([])) == ["sequenceDiagram"]
