"""Whatever a manifest says, it is checked, compared and written without a fault."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_controller.errors import CloudError, CloudErrors
from fake_controller.manifest.diff import diff
from fake_controller.manifest.parse import parse
from fake_controller.manifest.validate import check_app, validated

KEYS = (
    "name", "buildpack", "buildpacks", "command", "disk_quota", "disk-quota", "docker", "env",
    "features", "health-check-http-endpoint", "health-check-interval", "health-check-type",
    "health-check-invocation-timeout", "instances", "lifecycle", "log-rate-limit-per-second",
    "memory", "metadata", "no-route", "path", "processes", "random-route", "default-route",
    "readiness-health-check-type", "routes", "services", "sidecars", "stack", "timeout", "user",
)  # fmt: skip
INNER = (
    "type", "route", "protocol", "options", "loadbalancing", "hash_balance", "name", "command",
    "process_types", "memory", "labels", "annotations", "parameters", "binding_name", "ssh", "A",
)  # fmt: skip
WORDS = st.sampled_from(
    ["web", "1G", "-1", "0", "http", "none", "null", "default", "a.b/c", "hash", "", " ", "é"]
)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**25), st.floats(allow_nan=False,
    allow_infinity=False), WORDS, st.text(max_size=5),
)  # fmt: skip
KEY = st.one_of(st.sampled_from(INNER), st.text(max_size=3), st.integers(0, 3), st.none())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=4)),
    max_leaves=8,
)
TEXTS = st.sampled_from(["web", "a", "x y", "é", "0"])
SIZES = st.sampled_from(["1G", "512m", "1.5GB", "2048k", None, ""])
PROCESS: dict[str, Any] = {
    "memory": SIZES,
    "disk_quota": SIZES,
    "log-rate-limit-per-second": st.sampled_from(["-1", -1, 0, "1K", None]),
    "instances": st.sampled_from([0, 3, "2", None]),
    "command": st.sampled_from(["run", None, "null"]),
    "timeout": st.sampled_from([5, "5", None]),
    "health-check-type": st.sampled_from(["http", "none", "port"]),
}
LIKELY = st.fixed_dictionaries(
    {"name": st.just("a")},
    optional=PROCESS
    | {
        "env": st.dictionaries(TEXTS, VALUES, max_size=2),
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.dictionaries(st.sampled_from(["A", "b/c"]), st.none())}
        ),
        "routes": st.lists(
            st.fixed_dictionaries({"route": st.sampled_from(["a.b/c", "http://x.y"])}), max_size=2
        ),
        "processes": st.lists(
            st.fixed_dictionaries({"type": TEXTS}, optional=PROCESS),
            max_size=2,
            unique_by=lambda process: process["type"],
        ),
        "services": st.lists(st.one_of(TEXTS, st.fixed_dictionaries({"name": TEXTS})), max_size=2),
        "buildpacks": st.lists(TEXTS, max_size=2),
        "stack": st.one_of(st.none(), TEXTS),
        "no-route": st.booleans(),
        "unknown": VALUES,
    },
)
APPS = st.one_of(LIKELY, LIKELY, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
EXISTING: dict[str, Any] = {
    "name": "a",
    "buildpacks": ["x"],
    "env": {"A": "1"},
    "routes": [{"route": "a.b/c", "protocol": "http1"}],
    "processes": [{"type": "web", "memory": "1G", "instances": 1, "command": "c"}],
    "sidecars": [{"name": "web", "command": "c", "process_types": ["web"]}],
    "metadata": {"labels": {"A": "b"}},
    "services": ["web"],
    "features": {"ssh": True},
}


@settings(max_examples=200, deadline=None)
@given(APPS)
def test_any_app_is_right_or_is_told_what_is_wrong(app: dict[str, Any]) -> None:
    """What is right is compared with an app that is there, and the answer is JSON."""
    checked, errors = check_app(app)
    assert all(isinstance(error, str) and error for error in errors)
    if not errors:
        for existing in ({}, {checked.name: EXISTING}):
            found = diff([app], existing)
            assert json.loads(json.dumps(found, allow_nan=False)) is not None
            assert all(one["path"].startswith("/applications/0/") for one in found)


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES, st.lists(APPS, min_size=1, max_size=3).map(lambda a: {"applications": a})))
def test_any_yaml_is_a_manifest_or_refused(document: Any) -> None:
    """By an error of the API."""
    with suppress(CloudError, CloudErrors):
        validated(parse(yaml.safe_dump(document, allow_unicode=True).encode()))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.text(alphabet="{}[]&*!|>-?:, \n'\"#%@`ab1", max_size=40))
)
def test_any_bytes_are_a_manifest_or_refused(data: bytes | str) -> None:
    """What is no YAML at all, too."""
    with suppress(CloudError):
        parse(data if isinstance(data, bytes) else data.encode())
