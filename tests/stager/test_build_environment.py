"""The environment of a build: what Cloud Foundry promises, and what the user set."""

from __future__ import annotations

import json

from appliance.stager.environment import build_environment
from appliance.stager.messages import Properties, StagingRequest


def environment(properties: Properties) -> dict[str, str]:
    """That of a build with *properties*."""
    request = StagingRequest(
        app_id="a1", download_uri="http://cc/d", upload_uri="http://cc/u", properties=properties
    )
    return build_environment(request)


def test_bound_services_are_there_while_building() -> None:
    """As for an instance: grouped by label, and the first database as a URL."""
    service = {"label": "user-provided", "name": "db", "credentials": {"uri": "mysql://h/d"}}
    env = environment(Properties(services=[service], environment=["A=b"]))
    assert json.loads(env["VCAP_SERVICES"]) == {"user-provided": [service]}
    assert (env["DATABASE_URL"], env["A"]) == ("mysql2://h/d", "b")


def test_the_users_database_wins() -> None:
    """Who sets the variable knows why; without services there is none of ours."""
    service = {"label": "db", "credentials": {"uri": "mysql://h/d"}}
    env = environment(Properties(services=[service], environment=["DATABASE_URL=mine"]))
    assert env["DATABASE_URL"] == "mine"
    assert "DATABASE_URL" not in environment(Properties())
