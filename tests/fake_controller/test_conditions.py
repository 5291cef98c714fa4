"""Conditions select the records that they say, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from appliance.kernel.clock import Clock, Ids
from fake_controller.conditions import ALL, NONE, Condition, among, compares, is_, labelled
from fake_controller.errors import CloudError
from fake_controller.model import App, Destination, Organization, Process, Route, Space
from fake_controller.store import Store, Tx, open_store


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Two organizations with a space each, an app in each space, and a route to the first app."""
    async with open_store(None, Clock(), Ids()) as opened:

        def fill(tx: Tx) -> None:
            for name, labels in (("a", {"env": "prod", "x/team": "red"}), ("b", {"env": "test"})):
                tx.new(Organization, guid=f"org-{name}", name=name)
                tx.new(Space, guid=f"space-{name}", name=name, organization_guid=f"org-{name}")
                tx.new(
                    App, guid=f"app-{name}", name=name, space_guid=f"space-{name}", labels=labels
                )
                tx.new(
                    Process, guid=f"process-{name}", app_guid=f"app-{name}", type="web",
                    memory_in_mb=64, disk_in_mb=64,
                )  # fmt: skip
            tx.new(App, guid="app-c", name="c", space_guid="space-b")
            tx.new(Route, guid="route", space_guid="space-a", domain_guid="d", host="", path="/p")
            tx.new(Destination, guid="to", route_guid="route", app_guid="app-a")

        await opened.write(fill)
        yield opened


async def apps(store: Store, condition: Condition) -> list[str]:
    """The names of the apps that *condition* selects."""
    return [app.name for app in await store.find(App, condition)]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("env=prod", ["a"]),
        ("env==prod", ["a"]),
        ("env!=prod", ["b", "c"]),
        ("env in (prod, test)", ["a", "b"]),
        ("env in (prod,test),x/team", ["a"]),
        ("env notin (prod)", ["b", "c"]),
        ("env", ["a", "b"]),
        ("!env", ["c"]),
        ("x/team=red", ["a"]),
        ("env=", []),
    ],
)
async def test_labels_select(store: Store, selector: str, names: list[str]) -> None:
    """Each form of a requirement, and several of them, which must all hold."""
    assert await apps(store, labelled(selector)) == names


@pytest.mark.parametrize("selector", ["", ",", "a b", "a in", "a in ()x", "=b", "a'b", 'a"b', "("])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    """A sentence, and never a piece of SQL."""
    with pytest.raises(CloudError, match="Invalid label_selector value"):
        labelled(selector)


async def test_a_path_follows_references(store: Store) -> None:
    """A process is found by the organization of the space of its app."""
    found = await store.find(Process, among("app.space.organization_guid", ["org-b"]))

    assert [process.guid for process in found] == ["process-b"]


async def test_a_path_leads_back(store: Store) -> None:
    """A route is found by the apps that it leads to, and by nothing else."""
    path = "destinations[route_guid].app_guid"

    assert [one.guid for one in await store.find(Route, among(path, ["app-a"]))] == ["route"]
    assert await store.find(Route, among(path, ["app-b"])) == []


async def test_the_empty_text_is_also_null(store: Store) -> None:
    """As in a query: ``hosts=`` is a route without a host."""
    assert await store.find(Route, among("host", [""]))
    assert await store.find(Route, among("port", [""]))
    assert not await store.find(Route, among("path", [""]))


async def test_values_are_never_sql(store: Store) -> None:
    """Quotes and brackets are text like any other."""
    for text in ("'", '"', "a' OR '1'='1", "a') --", "\x00", "[]", "*"):
        assert await apps(store, among("name", [text])) == []
        assert await apps(store, is_("name", text)) == []


async def test_nothing_and_everything_combine(store: Store) -> None:
    """They are the ends of the scale, whatever they are combined with."""
    some = is_("name", "a")

    assert (some & ALL, some | NONE, some & NONE, some | ALL) == (some, some, NONE, ALL)
    assert await apps(store, ~some) == ["b", "c"]
    assert await apps(store, some | is_("name", "c")) == ["a", "c"]
    assert await apps(store, among("name", [])) == []


async def test_times_compare_as_they_are_shown(store: Store) -> None:
    """In whole seconds: what was made now is not after now."""
    now = int((await store.get(App, "app-a")).created_at)

    assert "a" in await apps(store, compares("created_at", "gte", now))
    assert "a" not in await apps(store, compares("created_at", "gt", now))
