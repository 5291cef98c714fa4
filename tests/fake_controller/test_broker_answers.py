"""What brokers say: decoded, judged, and put in words."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.http.client import Response
from fake_controller import present
from fake_controller.broker import answers
from fake_controller.broker.catalog import parse_catalog
from fake_controller.broker.errors import BrokerError, Concurrency
from fake_controller.model import ServiceOffering, ServicePlan

from .brokers import CATALOG


def said(status: int, body: Any = None, **headers: str) -> Response:
    """An answer; text is sent as it is."""
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return Response(status, {name.replace("_", "-"): v for name, v in headers.items()}, data)


def test_success_tells_whether_it_goes_on() -> None:
    """202 is "I have begun", and carries a name for the operation."""
    made, goes_on = answers.provisioned(said(202, {"operation": "op", "dashboard_url": "d"}))
    bound, later = answers.bound(said(201, {"credentials": {"a": 1}, "unknown": True}))

    assert (made.operation, made.dashboard_url, goes_on) == ("op", "d", True)
    assert (bound.credentials, later) == ({"a": 1}, False)
    assert answers.removed(said(410, b"anything")) == (answers.Removed(), False)


JUDGES: dict[str, Callable[[Response], Any]] = {
    "provision": answers.provisioned,
    "update": answers.updated,
    "bind": answers.bound,
    "remove": answers.removed,
    "catalog": answers.listed,
    "progress": lambda answer: answers.progress(answer, deleting=False),
}


@pytest.mark.parametrize(
    ("what", "status", "body", "text", "orphan"),
    [
        ("provision", 200, b"<html>", "expected valid JSON object in body", False),
        ("provision", 201, b"<html>", "broker returned '<html>'", True),
        ("provision", 202, [1], "expected valid JSON object in body", True),
        ("provision", 201, {"dashboard_url": 1}, "got `int` - at `$.dashboard_url`", True),
        ("provision", 201, {"operation": "x" * 10_001}, "operation is longer", True),
        ("provision", 204, b"", "Status Code: 204 No Content", True),
        ("provision", 302, b"", "Status Code: 302 Found", True),
        ("provision", 400, {"description": "no rows"}, "Service broker error: no rows", False),
        ("provision", 401, None, "Authentication with the service broker failed.", False),
        ("provision", 404, b"huh", "rejected the request. Status Code: 404 Not Found", False),
        ("provision", 408, None, "The request to the service broker timed out", False),
        ("provision", 409, None, "Resource conflict", False),
        ("provision", 409, {"description": "taken"}, "Service broker error: taken", False),
        ("provision", 422, {"error": "AsyncRequired"}, "support for asynchronous", False),
        ("provision", 422, {"error": "Other"}, "Status Code: 422 Unprocessable", True),
        ("provision", 422, {"error": "MaintenanceInfoConflict"}, "catalog is up to date", False),
        ("provision", 500, {"description": "boom"}, "Service broker error: boom", True),
        ("provision", 799, b"x", "Status Code: 799, Body: x", True),
        ("update", 201, {"description": "made"}, "Status Code: 201 Created", True),
        ("bind", 422, {"error": "RequiresApp"}, "binding an application only.", False),
        ("bind", 201, {"credentials": "secret"}, "got `str` - at `$.credentials`", True),
        ("bind", 201, {"volume_mounts": [{"driver": "x"}]}, "`container_dir` - at", True),
        ("remove", 201, {"description": "made"}, "Status Code: 201 Created", True),
        ("remove", 404, {}, "rejected the request. Status Code: 404", False),
        ("catalog", 200, b"[]", "check that the URL points to a valid service broker", False),
        ("catalog", 404, b"", "check that the URL points to a valid service broker", False),
        ("progress", 200, {"state": "odd"}, "broker returned 'odd'.", False),
        ("progress", 200, {}, "missing required field `state`", False),
        ("progress", 500, {}, "invalid response. Status Code: 500", True),
        ("provision", 201, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "JSON object", True),
        ("provision", 201, b'{"a":' * 150 + b"1" + b"}" * 150, "nested deeper than 100", True),
        ("provision", 201, b'{"a":"\xff"}', "JSON object", True),
        ("provision", 500, b"z" * 100_000, "This message has been truncated", True),
    ],
)  # fmt: skip
def test_everything_else_is_an_error(
    what: str, status: int, body: Any, text: str, orphan: bool
) -> None:
    """Each says what the broker did, and whether something may have been left at it."""
    with pytest.raises(BrokerError) as told:
        JUDGES[what](said(status, body))

    assert text in str(told.value)
    assert told.value.orphan == orphan
    assert len(str(told.value)) < 20_000


def test_a_busy_broker_is_told_apart() -> None:
    """It is asked again later, whatever the error's words."""
    for judge in (answers.provisioned, answers.updated, answers.bound, answers.removed):
        with pytest.raises(Concurrency):
            judge(said(422, {"error": "ConcurrencyError"}))


def test_progress_reads_pauses_and_what_is_gone() -> None:
    """Seconds up to a day; a date is ignored; 410 ends a deletion, 400 any operation."""
    going = said(200, {"state": "in progress", "description": "half"}, retry_after="7")
    dated = said(200, {"state": "in progress"}, retry_after="Fri, 31 Dec 1999 23:59:59 GMT")
    endless = said(200, {"state": "in progress"}, retry_after="9" * 30)

    told = answers.progress(going, deleting=False)
    assert (told.state, told.description, told.retry_after) == ("in progress", "half", 7)
    assert answers.progress(dated, deleting=False).retry_after is None
    assert answers.progress(endless, deleting=False).retry_after == 24 * 3600
    assert answers.progress(said(410), deleting=True).state == "succeeded"
    assert answers.progress(said(410), deleting=False).state == "in progress"
    gone_wrong = answers.progress(said(400, {"description": "no"}), deleting=False)
    assert (gone_wrong.state, gone_wrong.description) == ("failed", "no")


def test_a_catalogue_is_read() -> None:
    """Defaults are the specification's: plans are free, and bindable as their offering."""
    [offering] = parse_catalog(CATALOG)

    assert (offering.name, offering.tags, offering.allow_context_updates) == (
        "database",
        ("sql",),
        False,
    )
    small, large = offering.plans
    assert (small.free, small.bindable, small.schemas) == (True, None, {})
    assert (large.free, large.maintenance_info) == (
        False,
        {"version": "2.0.0", "description": "newer"},
    )


def changed(path: str, value: Any) -> dict[str, Any]:
    """The catalogue with one thing in it changed."""
    catalog = copy.deepcopy(CATALOG)
    at: Any = catalog["services"][0]
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    at[int(last) if last.isdigit() else last] = value
    return catalog


SCHEMA = {"service_instance": {"create": {"parameters": {}}}}
REMOTE = {
    "service_binding": {"create": {"parameters": {"$schema": "x", "a": {"$ref": "http://x"}}}}
}


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("id", None, "Service id is required"),
        ("name", "", "Service name is required"),
        ("name", ["x"], 'Service name must be a string, but has value ["x"]'),
        ("description", "x" * 10_001, "may not have more than 10000 characters"),
        ("bindable", None, 'Service "bindable" field is required'),
        ("bindable", "yes", 'Service "bindable" field must be a boolean, but has value "yes"'),
        ("tags", ["x" * 2049], "Tags for the service database must be 2048 characters or less."),
        ("tags", [1], "Service tags must be an array of strings, but has value [1]"),
        ("requires", ["magic"], 'Service "requires" field contains unsupported value "magic"'),
        ("metadata", [], "Service metadata must be a hash, but has value []"),
        ("metadata", {"shareable": 1}, "Service metadata shareable must be a boolean"),
        ("dashboard_client", {"id": "x"}, "Service dashboard client secret is required"),
        ("plans", [], "At least one plan is required"),
        ("plans", "many", "Service plans list must be an array of hashes"),
        ("plans.0.name", "large", "Plan names must be unique within a service"),
        ("plans.0.id", "large-id", "Unable to register plan with id 'large-id'"),
        ("plans.0.free", "no", "Plan free must be a boolean"),
        ("plans.0.maximum_polling_duration", "1h", "Maximum polling duration must be an integer"),
        ("plans.0.maintenance_info", {"version": "1"}, "must be a Semantic Version"),
        ("plans.0.maintenance_info", {"version": "1.0.0", "a": 1}, "invalid key(s): a"),
        ("plans.0.schemas", SCHEMA, "Schema must have $schema key but was not present"),
        ("plans.0.schemas", REMOTE, "No external references are allowed: http://x"),
        ("plans.0.schemas", {"service_instance": 1}, "Schemas service_instance must be a hash"),
    ],
)
def test_a_wrong_catalogue_says_where(path: str, value: Any, text: str) -> None:
    """Offering and plan are named, and everything that is wrong is told at once."""
    with pytest.raises(BrokerError) as told:
        parse_catalog(changed(path, value))

    assert "Service broker catalog is invalid: \n" in str(told.value)
    assert text in str(told.value)


def test_all_complaints_come_together() -> None:
    """Indented below what they are about."""
    catalog = changed("plans.0.description", None)
    catalog["services"].append(copy.deepcopy(catalog["services"][0]))

    with pytest.raises(BrokerError) as told:
        parse_catalog(catalog)

    assert str(told.value).splitlines()[1:5] == [
        "Service ids must be unique",
        "Service names must be unique within a broker",
        "Plan ids must be unique. Unable to register plan with id 'small-id' (plan name 'small', "
        "service name 'database') because it uses the same id as another plan in the catalog "
        "(plan name 'small', service name 'database')",
        "Plan ids must be unique. Unable to register plan with id 'large-id' (plan name 'large', "
        "service name 'database') because it uses the same id as another plan in the catalog "
        "(plan name 'large', service name 'database')",
    ]
    assert "  Plan small\n    Plan description is required" in str(told.value)


@pytest.mark.parametrize("services", [[], {}, None, 7, [1], "x"])
def test_a_catalogue_without_services_is_wrong(services: Any) -> None:
    """Whatever is there instead."""
    with pytest.raises(BrokerError, match="Service broker"):
        parse_catalog({"services": services})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode())


@given(what=st.sampled_from(sorted(JUDGES)), status=st.integers(200, 599), body=bodies)
def test_whatever_a_broker_says_is_a_fact_or_an_error(what: str, status: int, body: bytes) -> None:
    """Nothing else: no answer makes a bug of ours show."""
    with contextlib.suppress(BrokerError):
        JUDGES[what](said(status, body))


@given(data=st.data(), value=json_values)
def test_whatever_is_in_a_catalogue_is_taken_or_named(data: st.DataObject, value: Any) -> None:
    """Anything in the place of anything; what is taken can be shown."""
    catalog = copy.deepcopy(CATALOG)
    at: Any = catalog
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        key = data.draw(st.sampled_from(list(keys)))
        deeper = isinstance(at[key], (dict, list)) and len(at[key]) > 0
        if not deeper or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = value

    with contextlib.suppress(BrokerError):
        for offering in parse_catalog(json.loads(json.dumps(catalog))):
            for plan in offering.plans:
                record = ServicePlan(
                    guid="p",
                    created_at=0,
                    updated_at=0,
                    service_offering_guid="o",
                    **{one.name: getattr(plan, one.name) for one in fields(plan)},
                )
                listed = {one.name: getattr(offering, one.name) for one in fields(offering)}
                del listed["plans"]
                kind = ServiceOffering(
                    guid="o", created_at=0, updated_at=0, service_broker_guid="b", **listed
                )
                assert present.service_plan(record, "", kind, None)["name"] == plan.name
                assert present.service_offering(kind, "")["name"] == offering.name
