"""Manifests are read within bounds; what YAML would surprise with is refused, or stays text."""

from __future__ import annotations

from typing import Any

import pytest

from fake_controller.errors import CloudError
from fake_controller.manifest.parse import MAX_APPS, MAX_DEPTH, MAX_NODES, check_type, parse

PARSE = "Request invalid due to parse error: "
REFUSED = [
    (b"\xff\xfe", 400, f"{PARSE}invalid request body"),
    (b"applications: {", 400, f"{PARSE}line 2, column 1: did not find expected node content"),
    (b"a: &x 1\napplications: [*x]", 400, f"{PARSE}anchors and aliases are not supported"),
    (b"applications: [&x 1]", 400, f"{PARSE}anchors and aliases are not supported"),
    (b"[" * 5000, 400, f"{PARSE}the manifest is nested deeper than {MAX_DEPTH} levels"),
    (b"[" + b"1," * MAX_NODES + b"]", 400,
     f"{PARSE}the manifest has more than {MAX_NODES} values"),
    (b"applications: !!binary aGk=", 400,
     f"{PARSE}the tag tag:yaml.org,2002:binary is not supported"),
    (b"applications: !!python/object/apply:os.getcwd []", 400,
     f"{PARSE}the tag tag:yaml.org,2002:python/object/apply:os.getcwd is not supported"),
    (b"applications: [1e999]", 400, f"{PARSE}the manifest has a number that is not finite"),
    (b'applications: ["a\\0b"]', 400, f"{PARSE}the manifest has a NUL character"),
    (b"a: 1\n---\nb: 2", 400, f"{PARSE}the manifest has more than one YAML document"),
    (b"x" * (1 << 20) + b"x", 400, f"{PARSE}the manifest is larger than 1048576 bytes"),
    (b"version: 2\napplications: [{name: a}]", 422,
     "Unsupported manifest schema version. Currently supported versions: [1]."),
    (b"", 422, "Cannot parse manifest with no 'applications' field."),
    (b"just text", 422, "Cannot parse manifest with no 'applications' field."),
    (b"applications: []", 422, "Cannot parse manifest with no 'applications' field."),
    (b"applications: {name: a}", 422,
     "Applications must be an array of application configurations"),
    (b"applications: [" + b"{}," * (MAX_APPS + 1) + b"]", 422,
     f"A manifest can have at most {MAX_APPS} applications."),
]  # fmt: skip


@pytest.mark.parametrize(("data", "status", "detail"), REFUSED)
def test_refuses_what_is_no_manifest(data: bytes, status: int, detail: str) -> None:
    """In one sentence that says where, or what rule."""
    with pytest.raises(CloudError) as refused:
        parse(data)

    assert (refused.value.http, str(refused.value)) == (status, detail)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1", 1), ("-3", -3), ("0x1f", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("yes", True), ("Off", False), ("true", True), ("~", None), ("", None), ("null", None),
        ("'1'", "1"), ('"yes"', "yes"), ("2026-01-31", "2026-01-31"), ("1:30", "1:30"),
        ("1.2.3", "1.2.3"), ("256M", "256M"), (".nan", ".nan"), ("!!str 12", "12"),
    ],
)  # fmt: skip
def test_dates_and_clock_times_stay_text(written: str, read: Any) -> None:
    """As an environment should hold what was written; numbers and switches are what they are."""
    [app] = parse(f"version: 1\napplications:\n- name: {written}\n".encode())

    assert app["name"] == read
    assert type(app["name"]) is type(read)


@pytest.mark.parametrize("given", ["application/x-yaml", "text/yaml; charset=utf-8"])
def test_yaml_may_be_called_so(given: str) -> None:
    """Both names of YAML are in use, with or without parameters."""
    check_type(given)


@pytest.mark.parametrize("given", ["", "application/json", "application/x-yamlish"])
def test_another_content_type_is_refused(given: str) -> None:
    """A manifest that calls itself JSON is a mistake of the client."""
    with pytest.raises(CloudError, match="Content-Type must be yaml") as refused:
        check_type(given)

    assert refused.value.http == 400
