"""Rules that hold for every call: codes, pages, filters, errors and jobs."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from .cli import Cf
from .reads import App, Route
from .steps import domain, new_app, new_route, pushed, to


def names(cf: Cf, query: str) -> list[str]:
    """Of the apps that *query* selects, in order."""
    return [app.name for app in cf.list(f"/v3/apps?{query}&space_guids={cf.space}", App)]


# Requests


def test_a_get_may_have_a_content_type_and_a_post_no_body(cf: Cf) -> None:
    """cf sends the first always, the second with every action."""
    app = pushed(cf)

    assert cf.send("GET", "/v3/apps", status=200)
    answer = cf.send("POST", f"/v3/apps/{app.guid}/actions/restart", b"", status=200)
    assert answer.json["guid"] == app.guid


def test_nulls_are_as_if_they_were_not_there(cf: Cf) -> None:
    """Options that nobody has set are sent as null."""
    body = {
        "name": "a",
        "lifecycle": None,
        "environment_variables": None,
        "metadata": None,
        "relationships": {"space": to(cf.space)},
    }

    app = cf.post("/v3/apps", body, App)
    assert app.metadata.labels == {}
    assert cf.patch(f"/v3/apps/{app.guid}", {"name": None, "lifecycle": None}, App).name == "a"


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", b"nonsense"])
def test_what_is_no_json_object_has_its_own_error(cf: Cf, text: bytes) -> None:
    """400, with the words of Cloud Controller where it cannot be parsed."""
    answer = cf.send("POST", "/v3/apps", text)

    [error] = answer.json["errors"]
    if text == b"[]":
        assert answer.status in (400, 422)
    else:
        assert (answer.status, error["code"]) == (400, 1001)
        assert error["title"] == "CF-MessageParseError"
        assert error["detail"] == "Request invalid due to parse error: invalid request body"


# Pages


def test_next_repeats_all_filters(cf: Cf) -> None:
    """The CLI keeps nothing but that link; commas in names are encoded twice in it, too."""
    wanted = ["a,b", "c", "d"]
    for name in (*wanted, "other"):
        new_app(cf, name)
    query = f"names=a%2Cb,c,d&order_by=name&per_page=2&space_guids={cf.space}"

    shown = cf.send("GET", f"/v3/apps?{query}", status=200).json
    link = shown["pagination"]["next"]["href"]
    asked = parse_qs(urlsplit(link).query)

    assert link.startswith(f"{cf.base}/v3/apps?")
    assert asked["names"] == ["a%2Cb,c,d"]
    assert (asked["order_by"], asked["page"], asked["per_page"]) == (["name"], ["2"], ["2"])
    assert [app.name for app in cf.list(f"/v3/apps?{query}", App)] == wanted


def test_a_page_has_all_its_links(cf: Cf) -> None:
    """Null where there is none; a list without anything is an empty list."""
    for name in ("a", "b", "c"):
        new_app(cf, name)
    path = f"/v3/apps?space_guids={cf.space}&order_by=name&per_page=1"

    first, middle, last = [
        cf.send("GET", f"{path}&page={page}", status=200).json for page in (1, 2, 3)
    ]
    empty = cf.send("GET", f"{path}&names=none", status=200).json

    assert first["pagination"]["previous"] is None
    assert "page=2" in first["pagination"]["next"]["href"]
    assert (middle["pagination"]["total_results"], middle["pagination"]["total_pages"]) == (3, 3)
    assert last["pagination"]["next"] is None
    assert "page=1" in middle["pagination"]["previous"]["href"]
    assert "page=2" in last["pagination"]["previous"]["href"]
    assert (empty["resources"], empty["pagination"]["total_results"]) == ([], 0)
    assert empty["pagination"]["total_pages"] in (0, 1)


def test_pages_have_fifty_by_default_and_five_thousand_at_most(cf: Cf) -> None:
    """The CLI uses 1 and 5000."""
    shown = cf.send("GET", "/v3/apps", status=200).json
    assert "per_page=50" in shown["pagination"]["first"]["href"]
    for allowed in (1, 5000):
        cf.send("GET", f"/v3/apps?per_page={allowed}", status=200)
    detail = cf.refused("GET", "/v3/apps?per_page=5001", status=400)
    text = "The query parameter is invalid: Per page must be between 1 and 5000"
    assert detail == text


@pytest.mark.parametrize(
    ("order", "wanted"),
    [("name", ["a", "b", "c"]), ("-name", ["c", "b", "a"]), ("created_at", ["b", "c", "a"])],
)
def test_lists_are_ordered(cf: Cf, order: str, wanted: list[str]) -> None:
    """By what was asked for; a minus turns it round."""
    for name in ("b", "c", "a"):
        new_app(cf, name)

    assert names(cf, f"order_by={order}") == wanted


# Filters


def test_filters_take_lists(cf: Cf) -> None:
    """Several values, several filters at once, labels."""
    guids = {name: new_app(cf, name).guid for name in ("a", "b", "c")}
    cf.patch(f"/v3/apps/{guids['c']}", {"metadata": {"labels": {"k": "v"}}}, App)

    assert names(cf, "names=a,b&order_by=name") == ["a", "b"]
    assert names(cf, f"guids={guids['a']},{guids['c']}&names=c,b") == ["c"]
    assert names(cf, "label_selector=k=v") == ["c"]
    assert names(cf, f"organization_guids={cf.org}&order_by=name") == ["a", "b", "c"]


def test_an_empty_filter_means_is_empty(cf: Cf) -> None:
    """``hosts=&paths=`` does not select everything; ``paths=`` is in nearly every look-up."""
    new_route(cf, cf.name)
    new_route(cf, cf.name, path="/p")
    path = f"/v3/routes?space_guids={cf.space}&domain_guids={domain(cf).guid}"

    assert cf.list(f"{path}&hosts=&paths=", Route) == []
    assert [one.path for one in cf.list(f"{path}&hosts={cf.name}&paths=", Route)] == [""]
    assert [one.path for one in cf.list(f"{path}&paths=/p", Route)] == ["/p"]
    assert names(cf, "names=") == []


@pytest.mark.parametrize("path", ["/v3/apps", "/v3/routes", "/v3/processes", "/v3/roles"])
def test_an_unknown_query_key_is_named(cf: Cf, path: str) -> None:
    """With those that there are."""
    answer = cf.send("GET", f"{path}?x=1", status=400)

    [error] = answer.json["errors"]
    assert (error["code"], error["title"]) == (10005, "CF-BadQueryParameter")
    text = "The query parameter is invalid: Unknown query parameter(s): 'x'. Valid parameters are: "
    assert error["detail"].startswith(text)
    assert "'page'" in error["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/v3/apps?include=space,space.organization",
        "/v3/spaces?include=organization",
        "/v3/roles?include=user,space,organization",
        "/v3/routes?include=domain,space",
        "/v3/service_credential_bindings?include=app,service_instance",
        "/v3/service_instances?fields[space]=guid,name&fields[space.organization]=guid,name",
    ],
)
def test_what_is_included_comes_beside(cf: Cf, path: str) -> None:
    """Under the names of the resources."""
    new_app(cf)
    shown = cf.send("GET", path, status=200).json

    assert all(isinstance(value, list) for value in shown["included"].values())


# Errors


MISSING = [
    ("GET", "/v3/apps/x", "App not found"),
    ("GET", "/v3/apps/APP/droplets/current", "Droplet not found"),
    ("GET", "/v3/droplets/x", "Droplet not found"),
    ("GET", "/v3/deployments/x", "Deployment not found"),
    ("GET", "/v3/processes/x", "Process not found"),
    ("GET", "/v3/apps/APP/processes/x", "Process not found"),
    ("DELETE", "/v3/apps/APP/processes/web/instances/99", "Instance not found"),
    ("GET", "/v3/feature_flags/x", "Feature flag not found"),
    ("GET", "/v3/users/x", "User not found"),
    ("GET", "/v3/packages/x", "Package not found"),
    ("GET", "/v3/builds/x", "Build not found"),
    ("GET", "/v3/tasks/x", "Task not found"),
    ("GET", "/v3/jobs/x", "Job not found"),
    ("GET", "/v3/routes/x", "Route not found"),
    ("GET", "/v3/domains/x", "Domain not found"),
    ("GET", "/v3/spaces/x", "Space not found"),
    ("GET", "/v3/organizations/x", "Organization not found"),
    ("GET", "/v3/service_instances/x", "Service instance not found"),
    ("GET", "/v3/buildpacks/x", "Buildpack not found"),
    ("GET", "/v3/stacks/x", "Stack not found"),
    ("GET", "/v3/roles/x", "Role not found"),
    ("GET", "/v3/audit_events/x", "Event not found"),
]


@pytest.mark.parametrize(("method", "path", "detail"), MISSING)
def test_what_is_missing_is_named(cf: Cf, method: str, path: str, detail: str) -> None:
    """The CLI compares these letter by letter."""
    path = path.replace("APP", new_app(cf).guid)

    answer = cf.send(method, path, status=404)

    error = {"code": 10010, "title": "CF-ResourceNotFound", "detail": detail}
    assert answer.json == {"errors": [error]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v3/nothing"),
        ("GET", "/nothing"),
        ("PUT", "/v3/apps"),
    ],
)
def test_an_unknown_path_says_so(cf: Cf, method: str, path: str) -> None:
    """In exactly these words."""
    answer = cf.send(method, path, status=404)

    error = {"code": 10000, "title": "CF-NotFound", "detail": "Unknown request"}
    assert answer.json == {"errors": [error]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/info"),
        ("GET", "/v2/apps?q=name:x&q=space_guid:g"),
        ("POST", "/v2/user_provided_service_instances"),
    ],
)
def test_of_the_old_api_there_is_nothing(cf: Cf, anonymous: Cf, method: str, path: str) -> None:
    """404 in both forms, without a token, too: cf 7 shows the description of its own."""
    for who in (cf, anonymous):
        shown = who.send(method, path, status=404).json
        assert shown["errors"][0]["detail"] == "Unknown request"
        assert (shown["code"], shown["error_code"]) == (10000, "CF-NotFound")
        assert "version 8 of the cf CLI" in shown["description"]


def test_several_faults_are_several_errors(cf: Cf) -> None:
    """Each is shown on a line of its own."""
    path = f"/v3/spaces/{cf.space}/manifest_diff"
    text = b"version: 1\napplications: [{name: a, memory: '1'}, {name: b, memory: '2'}]"

    answer = cf.send("POST", path, text, kind="application/x-yaml", status=422)

    told = [error["detail"].partition(":")[0] for error in answer.json["errors"]]
    assert told == ["For application 'a'", "For application 'b'"]


# Jobs


def test_a_job_stays_readable(cf: Cf) -> None:
    """Other clients look at it again; it names itself."""
    app = new_app(cf)
    answer = cf.send("DELETE", f"/v3/apps/{app.guid}", status=202)
    done = cf.done(answer, "app.delete")

    again = cf.ended(answer)

    assert again.guid == done.guid == answer.location.rpartition("/")[2]
    assert (again.errors, again.warnings) == ([], [])
    assert again.links["self"].href == answer.location


def test_a_job_that_fails_says_why(cf: Cf) -> None:
    """A failed one without errors would tell nothing."""
    text = b"version: 1\napplications: [{name: a, services: [none]}]"
    path = f"/v3/spaces/{cf.space}/actions/apply_manifest"
    job = cf.ended(cf.send("POST", path, text, kind="application/x-yaml", status=202))

    [error] = job.errors
    assert (job.state, error.code, error.title) == ("FAILED", 10010, "CF-ResourceNotFound")
    assert error.detail == "For application 'a': Service instance 'none' not found"
