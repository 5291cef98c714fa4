"""Service instances, bindings and the marketplace."""

from __future__ import annotations

from typing import Any

from .cli import Cf
from .reads import App, Binding, Credentials, Env, ServiceInstance
from .steps import instance, look_once, new_app, to

PLANS = "/v3/service_plans?available=true&fields[service_offering.service_broker]=name,guid"


def new_instance(cf: Cf, name: str = "x", **more: Any) -> ServiceInstance:
    """``cf create-user-provided-service``."""
    body = {"type": "user-provided", "name": name, "relationships": {"space": to(cf.space)}}
    return cf.post("/v3/service_instances", body | more, ServiceInstance)


def bind(cf: Cf, app: App, made: ServiceInstance) -> Binding:
    """``cf bind-service``."""
    instance(cf, made.name)
    look_once(cf, app.name)
    relations = {"app": to(app.guid), "service_instance": to(made.guid)}
    body = {"type": "app", "relationships": relations}
    return cf.post("/v3/service_credential_bindings", body, Binding)


def test_a_user_provided_service_is_made_changed_and_deleted(cf: Cf) -> None:
    """Each at once: 201, 200, 204."""
    made = new_instance(
        cf,
        credentials={"a": "b"},
        tags=["a", "b"],
        syslog_drain_url="syslog://drain.example.com",
        route_service_url="https://route.example.com",
    )
    assert (made.type, made.tags) == ("user-provided", ["a", "b"])
    assert made.last_operation.state == "succeeded"
    path = f"/v3/service_instances/{instance(cf, 'x').guid}"

    changed = cf.patch(path, {"tags": [], "credentials": {"c": "d"}}, ServiceInstance)
    assert (changed.tags, changed.syslog_drain_url) == ([], "syslog://drain.example.com")
    assert cf.send("GET", f"{path}/credentials", status=200).json == {"c": "d"}
    assert cf.patch(path, {"name": "y"}, ServiceInstance).name == "y"
    cf.gone(path)
    assert cf.list(f"/v3/service_instances?names=y&space_guids={cf.space}", ServiceInstance) == []


def test_create_user_provided_service_twice(cf: Cf) -> None:
    """``cf`` exits 0 by these words."""
    new_instance(cf)

    body = {"type": "user-provided", "name": "x", "relationships": {"space": to(cf.space)}}
    detail = cf.refused("POST", "/v3/service_instances", body)
    assert "The service instance name is taken" in detail


def test_bind_and_unbind_service(cf: Cf) -> None:
    """201 for a user-provided one; the second time is no fault; 204 to end it."""
    app, made = new_app(cf), new_instance(cf, credentials={"a": "b"})
    binding = bind(cf, app, made)
    assert binding.relationships.service_instance.guid == made.guid

    relations = {"app": to(app.guid), "service_instance": to(made.guid)}
    body = {"type": "app", "relationships": relations}
    detail = cf.refused("POST", "/v3/service_credential_bindings", body)
    assert "The app is already bound to the service instance" in detail
    path = f"/v3/service_credential_bindings/{binding.guid}/details"
    assert cf.get(path, Credentials).credentials == {"a": "b"}
    services = cf.get(f"/v3/apps/{app.guid}/env", Env).system_env_json["VCAP_SERVICES"]
    assert services["user-provided"][0]["credentials"] == {"a": "b"}

    query = f"app_guids={app.guid}&service_instance_guids={made.guid}&type=app"
    found = cf.one(f"/v3/service_credential_bindings?{query}", Binding)
    cf.gone(f"/v3/service_credential_bindings/{found.guid}")
    assert cf.list(f"/v3/service_credential_bindings?{query}", Binding) == []


def test_services(cf: Cf) -> None:
    """``cf services``: the apps of the bindings are included, with their space."""
    app, made = new_app(cf), new_instance(cf)
    bind(cf, app, made)

    query = (
        "fields[service_plan.service_offering.service_broker]=guid,name"
        "&fields[service_plan.service_offering]=guid,name,relationships.service_broker"
        "&fields[service_plan]=guid,name,relationships.service_offering"
        f"&order_by=name&per_page=5000&space_guids={cf.space}"
    )
    page = cf.send("GET", f"/v3/service_instances?{query}", status=200).json
    assert [one["name"] for one in page["resources"]] == ["x"]
    assert page["included"] == {
        "service_plans": [],
        "service_offerings": [],
        "service_brokers": [],
    }
    query = f"include=app&service_instance_guids={made.guid}"
    page = cf.send("GET", f"/v3/service_credential_bindings?{query}", status=200).json
    [included] = page["included"]["apps"]
    assert included["name"] == "a"
    assert included["relationships"]["space"]["data"]["guid"] == cf.space


def test_service(cf: Cf) -> None:
    """``cf service``: its space and organization come as fields."""
    made = new_instance(cf)
    query = (
        "fields[service_plan.service_offering.service_broker]=name,guid"
        "&fields[service_plan.service_offering]=name,guid,description,tags,documentation_url"
        "&fields[service_plan]=name,guid&fields[space.organization]=name,guid"
        f"&fields[space]=name,guid&names=x&page=1&per_page=1&space_guids={cf.space}"
    )

    page = cf.send("GET", f"/v3/service_instances?{query}", status=200).json

    assert [one["guid"] for one in page["resources"]] == [made.guid]
    assert page["included"]["spaces"] == [{"name": "s", "guid": cf.space}]
    assert page["included"]["organizations"] == [{"name": cf.name, "guid": cf.org}]
    query = f"include=app&service_instance_guids={made.guid}&type=app"
    assert cf.list(f"/v3/service_credential_bindings?{query}", Binding) == []


def test_user_provided_services_have_no_keys(cf: Cf) -> None:
    """Cloud Controller refuses them, in these words; the lists are there."""
    made = new_instance(cf)
    body = {
        "type": "key",
        "name": "k",
        "relationships": {"service_instance": to(instance(cf, "x").guid)},
    }

    detail = cf.refused("POST", "/v3/service_credential_bindings", body)

    assert detail == (
        "Service credential bindings of type 'key' are not supported for user-provided service "
        "instances."
    )
    for query in ("per_page=5000", "names=k&page=1&per_page=1"):
        path = (
            f"/v3/service_credential_bindings?{query}&service_instance_guids={made.guid}&type=key"
        )
        assert cf.list(path, Binding) == []


def test_the_marketplace_may_be_empty(cf: Cf) -> None:
    """``cf marketplace`` and ``cf create-service``: clean errors come of empty pages."""
    query = f"{PLANS}&include=service_offering&per_page=5000&space_guids={cf.space}"
    page = cf.send("GET", query, status=200).json
    assert page["resources"] == []
    query = "fields[service_offering.service_broker]=name,guid&include=service_offering"
    path = f"/v3/service_plans?names=P&service_offering_names=O&{query}"
    assert cf.send("GET", path, status=200).json["resources"] == []


def test_service_access(cf: Cf) -> None:
    """Two lists."""
    for path in (
        "/v3/service_offerings?fields[service_broker]=name,guid",
        "/v3/service_plans?include=space.organization",
        "/v3/service_brokers",
    ):
        assert cf.send("GET", path, status=200).json["resources"] == []
