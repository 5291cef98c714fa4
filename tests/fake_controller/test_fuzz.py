"""No request makes the controller fail, whatever is in it."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, seed, settings

from .brokers import done, register, running_broker, wanted
from .conftest import Cloud, Dea, Stager
from .test_user_provided_services import bind, instance

EXAMPLES = 3  # of each operation; `make soak` makes more
SOON = (1, 5)  # seconds to connect and to answer: what takes longer hangs
RESOURCE = re.compile(r"/v3/(\w+)/\{guid\}")


async def fuzzed(cloud: Cloud, examples: int, salt: int) -> list[str]:
    """Requests that were answered by a server error, as lines; *salt* picks which are made."""
    guids = await known_guids(cloud)
    document = await cloud.call("GET", "/openapi.json", expect=200)

    def work() -> list[str]:
        schema = schemathesis.openapi.from_dict(document)
        chance = random.Random(salt)
        session = requests.Session()
        session.headers["Authorization"] = f"bearer {cloud.token}"
        failed: list[str] = []
        operations = [result.ok() for result in schema.get_all_operations()]
        # What is deleted first would leave nothing for the others.
        for operation in sorted(operations, key=lambda one: one.method == "delete"):

            @seed(salt)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def one(case: Any) -> None:
                # Half of the requests are about something that is there.
                there = RESOURCE.match(case.path)
                if there and guids.get(there[1]) and chance.random() < 0.7:
                    case.path_parameters["guid"] = chance.choice(guids[there[1]])
                answer = case.call(base_url=cloud.url, session=session, timeout=SOON)
                if answer.status_code >= 500:
                    failed.append(f"{answer.status_code} {case.as_curl_command()} {answer.text}")

            one()
        return failed

    return await trio.to_thread.run_sync(work)


async def known_guids(cloud: Cloud) -> dict[str, list[str]]:
    """Guids of what is there, by the name of the resource in a path."""
    found = {}
    document = await cloud.call("GET", "/openapi.json", expect=200)
    for name in {match[1] for path in document["paths"] if (match := RESOURCE.match(path))}:
        answer = await cloud.raw("GET", f"/v3/{name}")
        if answer.status == 200:
            found[name] = [
                one["guid"] for one in answer.json().get("resources", []) if "guid" in one
            ]
    return found


async def furnished(cloud: Cloud, tmp_path: Path) -> None:
    """Something of most kinds."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    body = {"droplet": {"guid": droplet}, "relationships": {"app": {"data": {"guid": app}}}}
    await cloud.call("POST", "/v3/deployments", body, expect=201)
    await cloud.call("POST", f"/v3/apps/{app}/tasks", {"command": "true"}, expect=202)
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "domain": {"data": {"guid": domain}},
    }
    await cloud.call("POST", "/v3/routes", {"host": "a", "relationships": relations}, expect=201)
    await bind(cloud, (await instance(cloud))["guid"], app)
    async with running_broker(cloud) as broker:
        plan = (await register(cloud, broker))["small"]
        body = await wanted(cloud, plan, "managed")
        await done(cloud, "POST", "/v3/service_instances", body)


async def test_no_request_is_a_server_error(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path
) -> None:
    """Requests made from the API's own description, right and wrong ones, end in an answer."""
    await furnished(cloud, tmp_path)

    assert await fuzzed(cloud, EXAMPLES, salt=1) == []


@pytest.mark.soak
@pytest.mark.parametrize("salt", range(2, 8))
async def test_no_request_of_many_is_a_server_error(
    cloud: Cloud, stager: Stager, dea: Dea, tmp_path: Path, salt: int
) -> None:
    """The same with a hundred of each operation."""
    await furnished(cloud, tmp_path)

    assert await fuzzed(cloud, 100, salt) == []
