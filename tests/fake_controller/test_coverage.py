"""COVERAGE.md is true: what it calls absent is unknown to the API, all else is served."""

from __future__ import annotations

import re
from pathlib import Path

import trio

from fake_controller.http.coverage import Coverage, compare, published
from fake_controller.http.partial import PARTIAL
from fake_controller.http.table import RESOURCES, served

from .conftest import Cloud

LIST = (Path(__file__).parent.parent / "contract" / "v3_paths.txt").read_text()


def covered() -> Coverage:
    """How far the routes that exist serve the published API."""
    routes = [route for resource in RESOURCES for route in served(resource)]
    return compare(published(LIST), routes, PARTIAL)


def test_the_list_is_sorted_and_says_each_endpoint_once() -> None:
    """As it is compared by eye with the documentation."""
    rows = [path + " " + method for method, path in published(LIST)]

    assert rows == sorted(set(rows))
    assert all(re.fullmatch(r"[A-Z]+ /(v3(/:?[\w-]+)*)?", line) for line in LIST.splitlines()[1:])


def test_what_is_said_to_lack_something_exists() -> None:
    """A reason outlives neither its endpoint nor its route."""
    partial = {f"{e.method} {e.path}" for e in covered().endpoints if e.status == "partial"}

    assert set(PARTIAL) - partial == set()


def test_a_word_in_place_of_a_parameter_is_part_of_an_endpoint() -> None:
    """Only that word is served; a parameter by another name is the same endpoint."""
    endpoints = [("GET", "/v3/a/:guid/features/:name"), ("GET", "/v3/b/:guid"), ("GET", "/v3/c")]
    routes = [("GET", "/v3/a/<guid>/features/ssh"), ("GET", "/v3/b/<name>"), ("GET", "/v3/d")]

    found = compare(endpoints, routes, {})

    assert [(each.status, each.note) for each in found.endpoints] == [
        ("partial", "only `ssh`"),
        ("done", ""),
        ("absent", ""),
    ]
    assert found.additions == [("GET", "/v3/d")]


async def test_the_api_knows_what_the_page_says_it_knows(cloud: Cloud) -> None:
    """Every published endpoint is asked for once, about a record that there is not."""
    wrong: list[str] = []
    limit = trio.CapacityLimiter(8)

    async def ask(method: str, path: str, status: str) -> None:
        async with limit:
            answer = await cloud.raw(method, re.sub(r":\w+", "1", path), None)
        errors = answer.json().get("errors", [{}]) if answer.body else [{}]
        unknown = errors[0].get("detail") == "Unknown request"
        if unknown != (status == "absent") or answer.status >= 500:
            wrong.append(f"{method} {path} is {status} and answers {answer.status}")

    async with trio.open_nursery() as nursery:
        for one in covered().endpoints:
            nursery.start_soon(ask, one.method, one.path, one.status)

    assert wrong == []
