"""The calls that cf 8.18 makes for its services commands, in its order, as they were recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from .brokers import BINDINGS, FakeBroker, binding_of, done, registration, running_broker
from .conftest import Cloud

INSTANCES, PLANS = "/v3/service_instances", "/v3/service_plans"
BROKER = "fields[service_plan.service_offering.service_broker]"
OFFERING, PLAN = "fields[service_plan.service_offering]", "fields[service_plan]"


@dataclass(frozen=True)
class Cf:
    """One user's CLI, in one space."""

    cloud: Cloud
    space: str

    async def get(self, path: str, **query: str) -> Any:
        """A look, with the query in the CLI's spelling."""
        pairs = (f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
        return await self.cloud.call("GET", f"{path}?{'&'.join(sorted(pairs))}", expect=200)

    async def one(self, path: str, **query: str) -> Any:
        """The only thing that a look by name finds."""
        [found] = (await self.get(path, **query))["resources"]
        return found

    async def instance(self, name: str, **query: str) -> Any:
        """What nearly every command begins with."""
        only = {"page": "1", "per_page": "1", "space_guids": self.space}
        return await self.one(INSTANCES, names=name, **only, **query)

    async def marketplace(self) -> list[tuple[str, str]]:
        """``cf marketplace``: offerings, and their plans."""
        page = await self.get(
            PLANS,
            **{"fields[service_offering.service_broker]": "name,guid"},
            available="true",
            include="service_offering",
            per_page="5000",
            space_guids=self.space,
        )
        brokers = {one["guid"]: one["name"] for one in page["included"]["service_brokers"]}
        names = {one["guid"]: one["name"] for one in page["included"]["service_offerings"]}
        for offering in page["included"]["service_offerings"]:
            assert brokers[offering["relationships"]["service_broker"]["data"]["guid"]]
        return [
            (names[one["relationships"]["service_offering"]["data"]["guid"]], one["name"])
            for one in page["resources"]
        ]

    async def create_service(self, offering: str, plan: str, name: str) -> None:
        """``cf create-service``."""
        found = await self.one(PLANS, names=plan, service_offering_names=offering)
        related = {"space": self.space, "service_plan": found["guid"]}
        relations = {name: {"data": {"guid": guid}} for name, guid in related.items()}
        body = {"type": "managed", "name": name, "relationships": relations}
        await done(self.cloud, "POST", INSTANCES, body)

    async def services(self) -> list[tuple[str, ...]]:
        """``cf services``: its table, without the last column."""
        page = await self.get(
            INSTANCES,
            **{
                BROKER: "guid,name",
                OFFERING: "guid,name,relationships.service_broker",
                PLAN: "guid,name,relationships.service_offering",
            },
            order_by="name",
            per_page="5000",
            space_guids=self.space,
        )
        found = page["resources"]
        guids = ",".join(one["guid"] for one in found)
        bound = await self.get(BINDINGS, include="app", service_instance_guids=guids)
        apps = {
            app["guid"]: app["name"]
            for app in bound["included"]["apps"]
            if app["relationships"]["space"]["data"]["guid"] == self.space
        }
        plans = {plan["guid"]: plan for plan in page["included"]["service_plans"]}
        offerings = {one["guid"]: one for one in page["included"]["service_offerings"]}
        rows = []
        for one in found:
            users = [
                apps[binding["relationships"]["app"]["data"]["guid"]]
                for binding in bound["resources"]
                if binding["relationships"]["service_instance"]["data"]["guid"] == one["guid"]
            ]
            latest = one["last_operation"]
            if one["type"] == "managed":
                plan = plans[one["relationships"]["service_plan"]["data"]["guid"]]
                offering = offerings[plan["relationships"]["service_offering"]["data"]["guid"]]
                what = (offering["name"], plan["name"])
            else:
                what = ("user-provided", "")
            rows.append((one["name"], *what, *users, f"{latest['type']} {latest['state']}"))
        return rows

    async def service(self, name: str) -> tuple[str, str, str]:
        """``cf service``: broker, offering and the spaces that it is shared with."""
        query = {
            BROKER: "name,guid",
            OFFERING: "name,guid,description,tags,documentation_url",
            PLAN: "name,guid",
            "fields[space]": "name,guid",
            "fields[space.organization]": "name,guid",
        }
        page = await self.get(
            INSTANCES, names=name, page="1", per_page="1", space_guids=self.space, **query
        )
        [one], included = page["resources"], page["included"]
        assert {"dashboard_url", "upgrade_available", "maintenance_info", "tags"} <= one.keys()
        await self.get("/v3/feature_flags/service_instance_sharing")
        [offering] = included["service_offerings"]
        whole = await self.get(f"/v3/service_offerings/{offering['guid']}")
        assert "shareable" in whole
        shared = await self.get(
            f"{INSTANCES}/{one['guid']}/relationships/shared_spaces",
            **{
                "fields[space]": "guid,name,relationships.organization",
                "fields[space.organization]": "guid,name",
            },
        )
        await self.get(BINDINGS, include="app", service_instance_guids=one["guid"], type="app")
        spaces = ",".join(space["name"] for space in shared["included"]["spaces"])
        return included["service_brokers"][0]["name"], offering["name"], spaces

    async def bind(self, app: str, name: str) -> None:
        """``cf bind-service``."""
        instance = await self.instance(name)
        only = {"page": "1", "per_page": "1", "space_guids": self.space}
        found = await self.one("/v3/apps", names=app, **only)
        await done(self.cloud, "POST", BINDINGS, binding_of(instance["guid"], found["guid"]))

    async def unbind(self, app: str, name: str) -> None:
        """``cf unbind-service``."""
        instance = await self.instance(name)
        found = await self.one(
            "/v3/apps", names=app, page="1", per_page="1", space_guids=self.space
        )
        guids = {"app_guids": found["guid"], "service_instance_guids": instance["guid"]}
        binding = await self.one(BINDINGS, type="app", **guids)
        await done(self.cloud, "DELETE", f"{BINDINGS}/{binding['guid']}")

    async def key(self, name: str, key: str) -> Any:
        """``cf create-service-key``, ``cf service-key`` and ``cf delete-service-key``."""
        instance = (await self.instance(name))["guid"]
        await done(self.cloud, "POST", BINDINGS, binding_of(instance, name=key))
        only = {"page": "1", "per_page": "1", "type": "key"}
        found = await self.one(BINDINGS, names=key, service_instance_guids=instance, **only)
        details = await self.get(f"{BINDINGS}/{found['guid']}/details")
        await done(self.cloud, "DELETE", f"{BINDINGS}/{found['guid']}")
        return details["credentials"]


@pytest.fixture
async def broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker beside the controller."""
    async with running_broker(cloud) as made:
        yield made


async def test_a_developer_uses_a_service(cloud: Cloud, broker: FakeBroker) -> None:
    """From the marketplace to the last unbinding, and what is shown in between."""
    cf = Cf(cloud, await cloud.space())
    await cloud.app("shop")
    await done(cloud, "POST", "/v3/service_brokers", registration(broker))
    offering = await cf.one(
        "/v3/service_offerings",
        **{"fields[service_broker]": "name,guid"},
        names="database",
        page="1",
        per_page="2",
    )
    for plan in (await cf.get(PLANS, service_offering_guids=offering["guid"]))["resources"]:
        path = f"{PLANS}/{plan['guid']}/visibility"
        await cloud.call("POST", path, {"type": "public"}, expect=200)

    assert sorted(await cf.marketplace()) == [("database", "large"), ("database", "small")]
    assert await cf.get(PLANS, include="space.organization", service_offering_names="database")
    await cf.create_service("database", "small", "db")
    await cf.bind("shop", "db")
    assert await cf.services() == [("db", "database", "small", "shop", "create succeeded")]
    assert await cf.service("db") == ("shop", "database", "")
    assert await cf.key("db", "k") == {"user": "u"}
    await cf.unbind("shop", "db")
    instance = await cf.instance("db", **{BROKER: "name", OFFERING: "name,guid"})
    await done(cloud, "DELETE", f"{INSTANCES}/{instance['guid']}")
    assert await cf.services() == []
