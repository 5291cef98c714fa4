"""Complaints about a broker's catalogue: collected where they belong, and told in order. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

DESCRIPTION_MOST = 10_000  # characters
SHOWN = 200  # characters of a wrong value


@dataclass(slots=True)
class Complaints:
    """What is wrong with one thing, and with the things in it."""

    heading: str = ""
    own: list[str] = field(default_factory=list)
    inner: list[Complaints] = field(default_factory=list)

    def add(self, text: str) -> None:
        """One thing more is wrong."""
        self.own.append(text)

    def within(self, heading: str) -> Complaints:
        """Complaints about a part."""
        part = Complaints(heading)
        self.inner.append(part)
        return part

    def lines(self, depth: int = 0) -> Iterable[str]:
        """All of them, indented; parts without any are left out."""
        for text in self.own:
            yield "  " * depth + text
        for part in self.inner:
            if found := list(part.lines(depth + 1)):
                yield "  " * depth + part.heading
                yield from found


# One value each: a complaint where it is not what it must be.


def text(about: Complaints, what: str, value: Any, *, required: bool = False) -> None:
    """It must be a string, and when *required* not blank."""
    if value is not None and not isinstance(value, str):
        about.add(f"{what} {must_be('a string', value)}")
    elif required and not (value or "").strip():
        about.add(f"{what} is required")


def description(about: Complaints, what: str, value: Any) -> None:
    """It must be a string that people can read in one sitting."""
    text(about, what, value, required=True)
    if isinstance(value, str) and len(value) > DESCRIPTION_MOST:
        about.add(f"{what} may not have more than {DESCRIPTION_MOST} characters")


def boolean(about: Complaints, what: str, value: Any, *, required: bool = False) -> None:
    """It must be true or false, and when *required* not left out."""
    if value is not None and not isinstance(value, bool):
        about.add(f"{what} {must_be('a boolean', value)}")
    elif required and value is None:
        about.add(f"{what} is required")


def mapping(about: Complaints, what: str, value: Any) -> bool:
    """It must be an object, or left out; whether it is."""
    return _kept(about, what, value, "a hash", lambda: value is None or isinstance(value, dict))


def texts(about: Complaints, what: str, value: Any) -> bool:
    """It must be an array of strings; whether it is."""
    return _kept(
        about,
        what,
        value,
        "an array of strings",
        lambda: isinstance(value, list) and all(isinstance(one, str) for one in value),
    )


def _kept(about: Complaints, what: str, value: Any, rule: str, holds: Callable[[], bool]) -> bool:
    if holds():
        return True
    about.add(f"{what} {must_be(rule, value)}")
    return False


def must_be(rule: str, value: Any) -> str:
    """What it must be and what it is, in words."""
    return f"must be {rule}, but has value {shown(json.dumps(value))}"


def shown(text: str) -> str:
    """*text* in a length that can be shown."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def name_of(one: dict[str, Any]) -> str:
    """What an offering or a plan calls itself."""
    name = one.get("name")
    return shown(name if isinstance(name, str) else json.dumps(name))


def unique(values: Iterable[Any], about: Complaints, complaint: str) -> None:
    """No text may be there twice."""
    known = [value for value in values if isinstance(value, str)]
    if len(set(known)) < len(known):
        about.add(complaint)
