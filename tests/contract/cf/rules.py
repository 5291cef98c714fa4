"""What every answer of the API must be like, whatever was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Any

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
#: Beside guids these are free text: an event may be told in any words.
FREE = {"data", "metadata", "environment_variables", "credentials", "parameters"}


@dataclass(frozen=True)
class Answer:
    """One answer, as it came."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded; an empty one is an error, as it is to the CLI."""
        return json.loads(self.body)

    @property
    def location(self) -> str:
        """Where to look next."""
        return str(self.headers["Location"] or "")


def check(answer: Answer, base: str) -> None:
    """Raise AssertionError unless *answer* keeps the rules that hold for all calls of ``/v3``."""
    assert answer.status < 500, answer.body
    if answer.location:
        assert answer.location.startswith(f"{base}/"), answer.location
    if not answer.body:
        assert answer.status in (200, 202, 204), answer.status
        return
    assert answer.status != 204, answer.body
    kind = answer.headers.get_content_type()
    if answer.status >= 400:
        assert kind == "application/json", answer.body
        _check_errors(answer.json)
    elif kind == "application/json":
        shown = answer.json
        _check_values(shown, base)
        if answer.location:
            assert "links" in shown, shown
        if "pagination" in shown:
            assert isinstance(shown["resources"], list), shown


def _check_errors(shown: Any) -> None:
    assert shown["errors"], shown
    for one in shown["errors"]:
        assert isinstance(one["code"], int), shown
        assert one["title"].startswith("CF-"), shown
        assert one["detail"], shown


def _check_values(shown: Any, base: str) -> None:
    for key, value in _leaves(shown):
        if key == "href" and value:  # nobody has a link for support, and it must be there
            assert value.startswith(f"{base}/"), value
        elif key.endswith("_at") and value is not None:
            assert TIMESTAMP.fullmatch(value), (key, value)
        elif key == "guid":
            assert value != "", shown


def _leaves(shown: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no object and no list, with the key that it is under."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            if name not in FREE:
                yield from _leaves(value, name)
    elif isinstance(shown, list):
        for value in shown:
            yield from _leaves(value, key)
    else:
        yield key, shown
