"""Lists: what a query asks for, and what comes with a page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from appliance.kernel.clock import Clock, Ids
from fake_controller.acting import Acting
from fake_controller.conditions import ALL
from fake_controller.errors import CloudError
from fake_controller.http.apps import APPS
from fake_controller.http.listing import answer, understand
from fake_controller.model import App, Organization, Space
from fake_controller.store import Store, Tx, open_store

from .conftest import Cloud


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty one."""
    async with open_store(None, Clock(), Ids()) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("created_ats=yesterday", "is no timestamp"),
        ("created_ats[gt]=2026-01-01", "is no timestamp"),
        ("created_ats[near]=2026-01-01T00:00:00Z", "Unknown query parameter"),
        ("include=moon", "Invalid included resource: 'moon'"),
        ("order_by=space_guid", "Order by can only be"),
        ("label_selector=a'b", "Invalid label_selector"),
        ("fields[space]=name", "Unknown query parameter"),
        ("name=a", "Valid parameters are:"),
    ],
)
def test_what_a_list_does_not_know_is_named(query: str, text: str) -> None:
    """A typing error is told, and not taken for "no filter"."""
    key, _, value = query.partition("=")

    with pytest.raises(CloudError, match="The query parameter is invalid") as caught:
        understand(APPS, [(key, value)])

    assert text in str(caught.value)


async def test_a_page_can_be_of_a_time(cloud: Cloud) -> None:
    """Before, after, and at a second, as it is shown."""
    await cloud.app("now")
    made = (await cloud.call("GET", "/v3/apps"))["resources"][0]["created_at"]

    async def names(query: str) -> list[str]:
        found = await cloud.call("GET", f"/v3/apps?{query}", expect=200)
        return [one["name"] for one in found["resources"]]

    assert await names(f"created_ats={made}") == ["now"]
    assert await names(f"created_ats[gte]={made}") == ["now"]
    assert await names(f"created_ats[lt]={made}") == []
    assert await names("created_ats=2020-01-01T00:00:00Z") == []


async def test_each_included_thing_comes_once(cloud: Cloud) -> None:
    """Two apps of one space bring it once, and its organization."""
    await cloud.app("one")
    await cloud.app("two")

    page = await cloud.call("GET", "/v3/apps?include=space,space.organization", expect=200)

    assert [space["name"] for space in page["included"]["spaces"]] == ["dev"]
    assert [one["name"] for one in page["included"]["organizations"]] == ["dev"]


async def test_including_costs_the_same_for_every_page(store: Store) -> None:
    """The number of queries does not grow with the page."""

    def work(tx: Tx) -> None:
        for number in range(40):
            organization = tx.new(Organization, name=f"o{number}")
            space = tx.new(Space, name="s", organization_guid=organization.guid)
            tx.new(App, name=f"a{number}", space_guid=space.guid)

    await store.write(work)

    async def queries(per_page: int) -> int:
        query = [("include", "space,space.organization"), ("per_page", str(per_page))]
        asked, counted = understand(APPS, query), 0

        def look(tx: Tx) -> int:
            nonlocal counted

            def count(*_: object) -> bool:
                nonlocal counted
                counted += 1
                return True

            tx._connection.exec_trace = count
            acting = Acting(tx, access=None)  # type: ignore[arg-type]
            page = answer(acting, APPS, asked, ALL, "http://api/v3/apps", query)
            tx._connection.exec_trace = None
            assert len(page["included"]["spaces"]) == per_page
            return counted

        return int(await store.read(look))

    assert await queries(1) == await queries(40) == 5
