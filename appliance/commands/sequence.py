"""Draws a push: who sent what to whom, as text or as a Mermaid sequence diagram. Pure.

Arrows are made of what the receivers saw: ``http.served`` and ``message.received``. Every
other event is a note beside its room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

OUTSIDE = "outside"  # a client that did not say who it is
GUID = re.compile(r"\b([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
LONG_HEX = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{16,}\b")
VALUE = 60  # characters of one value in a note


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One line of the picture: an arrow from *sender* to *room*, or a note on *room*."""

    at: float  # ms since the push began
    sender: str = ""  # "" for a note
    room: str
    label: str
    outcome: str = ""  # how it ended: status and duration of a request
    times: int = 1


def steps(events: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps of *events*, in the order in which they began; repeats are one step."""
    found = sorted((_step(event) for event in events), key=lambda step: step.at)
    start = found[0].at if found else 0.0
    merged: list[Step] = []
    for step in found:
        step = replace(step, at=step.at - start)
        if merged and _same(merged[-1], step):
            merged[-1] = replace(merged[-1], times=merged[-1].times + 1, outcome=step.outcome)
        else:
            merged.append(step)
    return merged


def _same(one: Step, other: Step) -> bool:
    """Whether *other* only asks again what *one* has asked."""
    return bool(one.sender) and (one.sender, one.room, one.label) == (
        other.sender,
        other.room,
        other.label,
    )


def _step(event: Mapping[str, Any]) -> Step:
    data, at, room = event["data"], event["at"] * 1000, event["room"]
    if event["what"] == "http.served":
        took = float(data.get("ms") or 0)
        return Step(
            at=at - took,  # it is told when it is over
            sender=data.get("sender") or OUTSIDE,
            room=room,
            label=f"{data['method']} {shortened(str(data['path']))}",
            outcome=f"{data['status']}, {took:.0f} ms",
        )
    if event["what"] == "message.received":
        return Step(
            at=at,
            sender=data.get("sender") or OUTSIDE,
            room=room,
            label=shortened(str(data["subject"])),
        )
    pairs = (f"{key}={_value(value)}" for key, value in data.items() if value not in ("", None))
    return Step(at=at, room=room, label=" ".join([event["what"], *pairs]))


def shortened(text: str) -> str:
    """*text* with eight digits of each identifier: enough to tell them apart."""
    return LONG_HEX.sub(r"\1", GUID.sub(r"\1", text))


def _value(value: object) -> str:
    text = shortened(" ".join(str(value).split()))
    return text if len(text) <= VALUE else text[: VALUE - 1] + "…"


def rooms(drawn: Sequence[Step]) -> list[str]:
    """Everybody in the picture, by first appearance."""
    return list(dict.fromkeys(name for step in drawn for name in (step.sender, step.room) if name))


def text(drawn: Sequence[Step]) -> list[str]:
    """One line for each step: when, from, to, what."""
    width = max((len(name) for name in rooms(drawn)), default=0)
    return [f"{step.at:>7.0f} ms  {_between(step, width)}  {_told(step)}" for step in drawn]


def _between(step: Step, width: int) -> str:
    if step.sender:
        return f"{step.sender:<{width}} ──▶ {step.room:<{width}}"
    return f"{'':<{width}}  ·  {step.room:<{width}}"


def _told(step: Step) -> str:
    more = [step.outcome] if step.outcome else []
    more += [f"{step.times} times"] if step.times > 1 else []
    return f"{step.label} ({', '.join(more)})" if more else step.label


def mermaid(drawn: Sequence[Step]) -> list[str]:
    """The lines of a ``sequenceDiagram``."""
    # Names of ours may hold what Mermaid takes for an arrow: they are only shown.
    names = {room: f"r{number}" for number, room in enumerate(rooms(drawn))}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {key} as {_escaped(room)}" for room, key in names.items()]
    for step in drawn:
        told = _escaped(_told(step))
        if step.sender:
            lines.append(f"    {names[step.sender]}->>{names[step.room]}: {told}")
        else:
            lines.append(f"    Note over {names[step.room]}: {told}")
    return lines


def _escaped(text: str) -> str:
    """*text* without what ends a Mermaid statement, or begins an entity or a tag."""
    return re.sub("[#;<>]", lambda found: f"#{ord(found[0])};", text)
