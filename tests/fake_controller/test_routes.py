"""Routes: what they may be called, where they lead, and whom they are shared with."""

from __future__ import annotations

from typing import Any

from .conftest import Cloud


async def body(cloud: Cloud, **more: Any) -> dict[str, Any]:
    """What makes a route on the shared domain."""
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    places = {"space": await cloud.space(), "domain": domain}
    relations = {name: {"data": {"guid": guid}} for name, guid in places.items()}
    return {"relationships": relations, **more}


async def route(cloud: Cloud, **more: Any) -> str:
    """The guid of a new route."""
    made = await cloud.call("POST", "/v3/routes", await body(cloud, **more), expect=201)
    return str(made["guid"])


async def refusal(cloud: Cloud, method: str, path: str, wanted: Any) -> str:
    """Why a request is refused with 422."""
    answer = await cloud.raw(method, path, wanted)
    assert answer.status == 422, answer.body
    return str(answer.json()["errors"][0]["detail"])


async def led_to(cloud: Cloud, guid: str) -> list[tuple[str, str]]:
    """App and process type of each destination."""
    page = await cloud.call("GET", f"/v3/routes/{guid}/destinations", expect=200)
    return [(one["app"]["guid"], one["app"]["process"]["type"]) for one in page["destinations"]]


async def other_space(cloud: Cloud) -> str:
    """A second space of the same organization."""
    [space] = (await cloud.call("GET", "/v3/spaces"))["resources"]
    wanted = {"name": "other", "relationships": {"organization": space["relationships"]
                                                 ["organization"]}}  # fmt: skip
    return str((await cloud.call("POST", "/v3/spaces", wanted, expect=201))["guid"])


NO_NAMES: list[tuple[dict[str, Any], str]] = [
    ({}, "Missing host. Routes in shared domains must have a host defined."),
    ({"host": "a.b"}, 'Host must be either "*" or contain only alphanumeric characters, "_", '
     'or "-"'),
    ({"host": "a" * 64}, "Host is too long (maximum is 63 characters)"),
    ({"host": "a", "path": "b"}, "Path must begin with /"),
    ({"host": "a", "path": "/"}, "Path cannot be exactly /"),
    ({"host": "a", "path": "/b?c"}, "Path cannot contain ?"),
    ({"host": "a", "path": "/b c"}, "Path is invalid."),
    ({"host": "a", "path": "/" + "b" * 128}, "Path is too long (maximum is 128 characters)"),
    ({"host": "a", "port": 70000}, "Port must be less than or equal to 65535"),
    ({"host": "a", "port": 8000}, "Routes with protocol 'http' do not support ports."),
    ({"host": "a.", "path": "b"}, 'Host must be either "*" or contain only alphanumeric '
     'characters, "_", or "-", Path must begin with /'),
    ({"host": "a", "options": {"way": "x"}}, "Options Unknown field(s): 'way'"),
]  # fmt: skip


async def test_what_is_no_name_is_refused(cloud: Cloud) -> None:
    """In Cloud Controller's words."""
    for given, why in NO_NAMES:
        assert await refusal(cloud, "POST", "/v3/routes", await body(cloud, **given)) == why


async def test_a_name_is_there_once(cloud: Cloud) -> None:
    """Host and path together; the case of the host does not count."""
    await route(cloud, host="a")
    await route(cloud, host="a", path="/b")

    again = await refusal(cloud, "POST", "/v3/routes", await body(cloud, host="A"))
    below = await refusal(cloud, "POST", "/v3/routes", await body(cloud, host="a", path="/b"))

    assert again == "Route already exists with host 'a' for domain 'apps.localhost'."
    assert below == (
        "Route already exists with host 'a' and path '/b' for domain 'apps.localhost'."
    )


async def test_a_destination_is_added_once(cloud: Cloud) -> None:
    """Adding it again changes nothing; twice in one request is a mistake."""
    app, made = await cloud.app(), await route(cloud, host="a")
    path, one = f"/v3/routes/{made}/destinations", {"app": {"guid": app}}

    await cloud.call("POST", path, {"destinations": [one]}, expect=200)
    await cloud.call("POST", path, {"destinations": [one | {"port": 8080}]}, expect=200)

    assert await led_to(cloud, made) == [(app, "web")]
    [shown] = (await cloud.call("GET", path, expect=200))["destinations"]
    assert (shown["port"], shown["protocol"], shown["weight"]) == (8080, "http1", None)
    why = await refusal(cloud, "POST", path, {"destinations": [one, one]})
    assert why == "Destinations cannot contain duplicate entries"


async def test_replacing_destinations_keeps_those_that_stay(cloud: Cloud) -> None:
    """By guid, too; what is not named goes, and all may go."""
    one, two, made = await cloud.app("one"), await cloud.app("two"), await route(cloud, host="a")
    path = f"/v3/routes/{made}/destinations"
    stays = {"app": {"guid": one}}
    before = await cloud.call("POST", path, {"destinations": [stays, {"app": {"guid": two}}]})

    wanted = [stays, {"app": {"guid": two, "process": {"type": "worker"}}}]
    after = await cloud.call("PATCH", path, {"destinations": wanted}, expect=200)

    assert await led_to(cloud, made) == [(one, "web"), (two, "worker")]
    assert after["destinations"][0] == before["destinations"][0]
    await cloud.call("PATCH", path, {"destinations": []}, expect=200)
    assert await led_to(cloud, made) == []


NO_DESTINATIONS: list[tuple[str, list[Any], str]] = [
    ("POST", [], "Destinations must be an array containing between 1 and 100 destination "
     "objects."),
    ("POST", [{"app": {"guid": "nobody"}}],
     'App(s) with guid(s) "nobody" do not exist or you do not have access.'),
    ("POST", [{"app": {"process": {"type": ""}}}],
     'Destinations[0]: process must have the structure {"type": "process_type"}'),
    ("POST", [{"app": {}, "weight": 1}], "Destinations[0]: weighted destinations "
     "can only be used when replacing all destinations."),
    ("PATCH", [{"app": {}, "weight": 100}],
     "Destinations[0]: weight must be null: the router gives every instance the same share."),
    ("PATCH", [{"app": {}, "protocol": "http2", "port": 80}],
     "Destinations[0]: port must be 8080, which leads to the app's PORT: it has no other., "
     "Destinations[0]: protocol must be 'http1': the router speaks nothing else with apps."),
]  # fmt: skip


async def test_destinations_that_cannot_be_are_refused(cloud: Cloud) -> None:
    """All that is wrong is told, each with its place."""
    app, made = await cloud.app(), await route(cloud, host="a")
    path = f"/v3/routes/{made}/destinations"
    for method, destinations, why in NO_DESTINATIONS:
        asked = [one | {"app": {"guid": app} | one["app"]} for one in destinations]
        assert await refusal(cloud, method, path, {"destinations": asked}) == why


async def test_a_destination_has_the_one_protocol(cloud: Cloud) -> None:
    """Others are refused, and a destination of another route is none of this one."""
    app, made, other = await cloud.app(), await route(cloud, host="a"), await route(cloud, host="b")
    path = f"/v3/routes/{made}/destinations"
    added = await cloud.call("POST", path, {"destinations": [{"app": {"guid": app}}]})
    one = added["destinations"][0]["guid"]

    changed = await cloud.call("PATCH", f"{path}/{one}", {"protocol": "http1"}, expect=200)

    assert (changed["guid"], changed["protocol"]) == (one, "http1")
    why = await refusal(cloud, "PATCH", f"{path}/{one}", {"protocol": "http2"})
    assert why == (
        "Destination protocol must be 'http1': the router speaks nothing else with apps."
    )
    strange = await refusal(
        cloud, "PATCH", f"/v3/routes/{other}/destinations/{one}", {"protocol": "http1"}
    )
    assert strange.startswith("Unable to unmap route from destination.")


async def test_destinations_are_filtered(cloud: Cloud) -> None:
    """By app; an unknown key is refused, as everywhere."""
    one, two, made = await cloud.app("one"), await cloud.app("two"), await route(cloud, host="a")
    path = f"/v3/routes/{made}/destinations"
    both = [{"app": {"guid": one}}, {"app": {"guid": two}}]
    await cloud.call("POST", path, {"destinations": both}, expect=200)

    page = await cloud.call("GET", f"{path}?app_guids={two}", expect=200)

    assert [found["app"]["guid"] for found in page["destinations"]] == [two]
    await cloud.call("GET", f"{path}?apps={two}", expect=400)


async def test_a_shared_route_leads_to_apps_of_both_spaces(cloud: Cloud) -> None:
    """Until then the other space's apps are refused; the flag is off until it is switched."""
    app, made, space = await cloud.app(), await route(cloud, host="a"), await other_space(cloud)
    relation = {"name": "b", "relationships": {"space": {"data": {"guid": space}}}}
    there = (await cloud.call("POST", "/v3/apps", relation, expect=201))["guid"]
    shares = f"/v3/routes/{made}/relationships/shared_spaces"
    mapped = {"destinations": [{"app": {"guid": app}}, {"app": {"guid": there}}]}

    why = await refusal(cloud, "POST", f"/v3/routes/{made}/destinations", mapped)
    assert why == (
        "Routes destinations must be in either the route's space or the route's shared spaces"
    )
    await cloud.call("POST", shares, {"data": [{"guid": space}]}, expect=403)
    await cloud.call("PATCH", "/v3/feature_flags/route_sharing", {"enabled": True}, expect=200)
    shared = await cloud.call("POST", shares, {"data": [{"guid": space}]}, expect=200)
    await cloud.call("POST", f"/v3/routes/{made}/destinations", mapped, expect=200)

    assert shared["data"] == [{"guid": space}]
    assert await cloud.call("GET", shares, expect=200) == shared
    await cloud.call("DELETE", f"{shares}/{space}", expect=204)
    assert (await cloud.call("GET", shares, expect=200))["data"] == []


async def test_a_route_is_not_shared_with_its_own_space_or_with_nobody(cloud: Cloud) -> None:
    """Each with Cloud Controller's reason."""
    made, own = await route(cloud, host="a"), await cloud.space()
    await cloud.call("PATCH", "/v3/feature_flags/route_sharing", {"enabled": True}, expect=200)
    shares = f"/v3/routes/{made}/relationships/shared_spaces"

    to_self = await refusal(cloud, "POST", shares, {"data": [{"guid": own}]})
    to_none = await refusal(cloud, "POST", shares, {"data": [{"guid": "x"}, {"guid": "y"}]})
    from_self = await refusal(cloud, "DELETE", f"{shares}/{own}", None)

    assert to_self == (
        f"Unable to share route 'a.apps.localhost' with space '{own}'. Routes cannot be shared "
        "into the space where they were created."
    )
    assert to_none == (
        "Unable to share route a.apps.localhost with spaces ['x', 'y']. Ensure the spaces exist "
        "and that you have access to them."
    )
    assert from_self.endswith("Routes cannot be removed from the space that owns them.")


async def test_a_route_that_moves_is_shared_with_where_it_was(cloud: Cloud) -> None:
    """So that it still leads where it led."""
    made, own, space = await route(cloud, host="a"), await cloud.space(), await other_space(cloud)
    await cloud.call("PATCH", "/v3/feature_flags/route_sharing", {"enabled": True}, expect=200)
    owner = f"/v3/routes/{made}/relationships/space"

    await cloud.call("PATCH", owner, {"data": {"guid": space}}, expect=200)

    moved = await cloud.call("GET", f"/v3/routes/{made}", expect=200)
    assert moved["relationships"]["space"] == {"data": {"guid": space}}
    shares = f"/v3/routes/{made}/relationships/shared_spaces"
    assert (await cloud.call("GET", shares, expect=200))["data"] == [{"guid": own}]
    nowhere = await refusal(cloud, "PATCH", owner, {"data": {"guid": "x"}})
    assert nowhere == (
        "Unable to transfer owner of route 'a.apps.localhost' to space 'x'. Ensure the space "
        "exists and that you have access to it."
    )


async def test_a_name_that_is_taken_is_told(cloud: Cloud) -> None:
    """By host and path together, whoever has it."""
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    path = f"/v3/domains/{domain}/route_reservations"
    await route(cloud, host="a", path="/b")

    for query, taken in (("host=a&path=/b", True), ("host=A&path=/b", True), ("host=a", False)):
        answer = await cloud.call("GET", f"{path}?{query}", expect=200)
        assert answer == {"matching_route": taken}
    await cloud.call("GET", f"{path}?name=a", expect=400)
