"""Compares the routes that exist with the published V3 API, endpoint by endpoint. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["done", "partial", "absent"]
Shape = tuple[str, ...]
ANY = "*"  # a path parameter, whatever its name


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One endpoint of the published API, and how far it is served."""

    method: str
    path: str  # as published: ``/v3/apps/:guid``
    status: Status
    note: str = ""  # what a partial one lacks


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """The published endpoints in their order, and what is served under /v3 beside them."""

    endpoints: list[Endpoint]
    additions: list[tuple[str, str]]  # method and path


def published(text: str) -> list[tuple[str, str]]:
    """Method and path of each line of a list ``METHOD PATH``; comments begin with #."""
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return [(method, path) for method, path in lines]


def compare(
    endpoints: Collection[tuple[str, str]],
    routes: Collection[tuple[str, str]],
    partial: Mapping[str, str],
) -> Coverage:
    """How far *routes* serve *endpoints*.

    A route with a word where an endpoint has a parameter serves that word only, so the
    endpoint is partial: ``/v3/apps/<guid>/features/ssh`` of ``…/features/:name``.

    Args:
      endpoints: Method and path, as published.
      routes: Method and path, as the app or the blob plane has them.
      partial: What is missing, by ``METHOD PATH`` of the endpoint.
    """
    shapes = {(method, _shape(path)) for method, path in endpoints}
    exact = {(method, _shape(path)) for method, path in routes} & shapes
    narrow: dict[tuple[str, Shape], list[str]] = {}
    additions = []
    for method, path in routes:
        shape = _shape(path)
        if (method, shape) in exact or not path.startswith("/v3"):
            continue
        wide = [one for one in shapes if one[0] == method and _within(shape, one[1])]
        for one in wide:
            narrow.setdefault(one, []).append(f"`{_words(shape, one[1])}`")
        if not wide:
            additions.append((method, path))
    found = []
    for method, path in endpoints:
        key = (method, _shape(path))
        note = partial.get(f"{method} {path}", "")
        if key not in exact and key in narrow:
            note = "; ".join(filter(None, [f"only {', '.join(sorted(narrow[key]))}", note]))
        served = key in exact or key in narrow
        status: Status = "absent" if not served else "partial" if note else "done"
        found.append(Endpoint(method=method, path=path, status=status, note=note))
    return Coverage(endpoints=found, additions=sorted(additions, key=lambda each: each[::-1]))


def _shape(path: str) -> Shape:
    """*path* with one mark for every parameter, ``:name`` or ``<type:name>``."""
    segments = path.strip("/").split("/")
    return tuple(ANY if re.fullmatch(r":.+|<.+>", segment) else segment for segment in segments)


def _within(shape: Shape, wider: Shape) -> bool:
    """Whether every path of *shape* is one of *wider*."""
    return len(shape) == len(wider) and all(
        theirs in (ANY, own) for own, theirs in zip(shape, wider, strict=True)
    )


def _words(shape: Shape, wider: Shape) -> str:
    """What *shape* has where *wider* has parameters and it has none."""
    pairs = zip(shape, wider, strict=True)
    return "/".join(own for own, theirs in pairs if theirs == ANY != own)
