"""Rules of every call: who may, pages, filters and the texts that clients compare."""

from __future__ import annotations

import pytest

from .conftest import Cloud


async def test_without_a_token_nothing_is_shown(cloud: Cloud) -> None:
    """No header is one error, a bad token another; clients tell them apart."""
    cloud.token = ""
    bare = await cloud.raw("GET", "/v3/apps")
    forged = await cloud.raw("GET", "/v3/apps", Authorization="bearer aaa.bbb.ccc")

    assert (bare.status, bare.json()["errors"][0]["code"]) == (401, 10002)
    assert (forged.status, forged.json()["errors"][0]["code"]) == (401, 1000)


async def test_root_documents_need_no_token(cloud: Cloud) -> None:
    """Clients begin there, and every link is absolute."""
    cloud.token = ""
    root = await cloud.call("GET", "/", expect=200)

    assert root["links"]["cloud_controller_v3"]["href"] == f"{cloud.url}/v3"
    assert (await cloud.call("GET", "/login", expect=200))["prompts"].keys() == {
        "username",
        "password",
        "passcode",
    }
    assert (await cloud.call("GET", "/api/v1/info", expect=200))["version"] >= "2"


@pytest.mark.parametrize("password", ["wrong", "", "admin "])
async def test_wrong_passwords_are_refused(cloud: Cloud, password: str) -> None:
    """UAA's own error."""
    answer = await cloud.kit.http.request(
        "POST",
        f"{cloud.url}/oauth/token",
        content=f"grant_type=password&username=admin&password={password}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert answer.status == 401
    assert answer.json() == {"error": "unauthorized", "error_description": "Bad credentials"}


async def test_a_refresh_token_gives_a_new_token(cloud: Cloud) -> None:
    """And is itself no access token."""
    first = await cloud.kit.http.request(
        "POST",
        f"{cloud.url}/oauth/token?grant_type=password&username=admin&password=admin",
    )
    refresh = first.json()["refresh_token"]
    second = await cloud.kit.http.request(
        "POST", f"{cloud.url}/oauth/token?grant_type=refresh_token&refresh_token={refresh}"
    )

    cloud.token = second.json()["access_token"]
    assert (await cloud.raw("GET", "/v3/apps")).status == 200
    cloud.token = refresh
    assert (await cloud.raw("GET", "/v3/apps")).status == 401


async def test_lists_have_pages(cloud: Cloud) -> None:
    """``next`` leads through all of them, with the filters kept."""
    names = [f"app-{number}" for number in range(5)]
    for name in names:
        await cloud.app(name)

    seen, href = [], "/v3/apps?per_page=2&order_by=name&names=" + ",".join(names[1:])
    while href:
        page = await cloud.call("GET", href, expect=200)
        seen += [app["name"] for app in page["resources"]]
        href = (page["pagination"]["next"] or {}).get("href")

    assert seen == names[1:]
    assert page["pagination"]["total_results"] == 4
    assert page["pagination"]["total_pages"] == 2


@pytest.mark.parametrize(
    "query", ["foo=1", "per_page=0", "per_page=5001", "page=0", "page=-1", "page=x", "order_by=x"]
)
async def test_bad_queries_are_named(cloud: Cloud, query: str) -> None:
    """Unknown keys and numbers out of range are 400, never ignored."""
    answer = await cloud.raw("GET", f"/v3/apps?{query}")

    assert answer.status == 400
    assert answer.json()["errors"][0]["title"] == "CF-BadQueryParameter"


async def test_an_empty_filter_means_empty(cloud: Cloud) -> None:
    """``paths=`` selects routes without a path, it does not select all."""
    domain = (await cloud.call("GET", "/v3/domains"))["resources"][0]["guid"]
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "domain": {"data": {"guid": domain}},
    }
    for path in ("", "/p"):
        body = {"host": "a", "path": path, "relationships": relations}
        await cloud.call("POST", "/v3/routes", body, expect=201)

    page = await cloud.call("GET", "/v3/routes?hosts=a&paths=", expect=200)

    assert [route["path"] for route in page["resources"]] == [""]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("GET", "/v3/nothing", None, 404, "Unknown request"),
        ("GET", "/v3/apps/x", None, 404, "App not found"),
        ("GET", "/v3/droplets/x", None, 404, "Droplet not found"),
        ("POST", "/v3/apps", {"name": "a"}, 422, "relationships"),
        ("POST", "/v3/organizations", {"name": "DEV"}, 422, "Organization 'DEV' already exists."),
        ("POST", "/v3/builds", {"package": {"guid": "x"}}, 422, "Unable to use package."),
        ("PUT", "/v3/apps", None, 404, "Unknown request"),
    ],
)
async def test_errors_keep_their_texts(
    cloud: Cloud, method: str, path: str, body: object, status: int, text: str
) -> None:
    """Clients act on these sentences."""
    answer = await cloud.raw(method, path, body)

    assert answer.status == status
    assert text in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("body", [b"{", b'{"a":' * 100_000, b"\xff\xfe", b"nonsense"])
async def test_a_broken_body_is_400(cloud: Cloud, body: bytes) -> None:
    """Not JSON is a parse error, at any depth."""
    answer = await cloud.kit.http.request(
        "POST",
        f"{cloud.url}/v3/apps",
        content=body,
        headers={"Authorization": f"bearer {cloud.token}"},
    )

    assert (answer.status, answer.json()["errors"][0]["code"]) == (400, 1001)


@pytest.mark.parametrize("name", ["VCAP_X", "VMC_X", "PORT"])
async def test_reserved_variables_are_refused(cloud: Cloud, name: str) -> None:
    """The platform's own names cannot be set."""
    app = await cloud.app()

    answer = await cloud.raw("PATCH", f"/v3/apps/{app}/environment_variables", {"var": {name: "1"}})

    assert answer.status == 422


async def test_variables_merge_and_null_removes(cloud: Cloud) -> None:
    """PATCH changes what it names."""
    app = await cloud.app()
    path = f"/v3/apps/{app}/environment_variables"
    await cloud.call("PATCH", path, {"var": {"A": "1", "B": "2"}}, expect=200)

    changed = await cloud.call("PATCH", path, {"var": {"A": None, "C": "3"}}, expect=200)

    assert changed["var"] == {"B": "2", "C": "3"}


@pytest.mark.parametrize("token", ["x", "[]", '{"id": "a"}', '{"id": null}'])
async def test_a_bad_bulk_token_is_400(cloud: Cloud, token: str) -> None:
    """Nonsense in the token of a page is the asker's error, never a 500."""
    from urllib.parse import quote

    from fake_controller.messages import BulkCredentials, BulkCredentialsRequest

    login = await cloud.kit.request(BulkCredentialsRequest(), BulkCredentials, timeout=1)
    url = cloud.url.replace("://", f"://{login.user}:{login.password}@")

    answer = await cloud.kit.http.request("GET", f"{url}/bulk/apps?bulk_token={quote(token)}")

    assert answer.status == 400
