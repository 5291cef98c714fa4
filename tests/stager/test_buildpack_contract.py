"""What classic buildpacks write in YAML, and what we make of it: no disk, no sandbox."""

from __future__ import annotations

import pytest

from appliance.stager.buildpacks.contract import (
    LONGEST,
    merged,
    parse_config,
    parse_launch,
    parse_release,
)
from appliance.stager.buildpacks.shelf import size_text
from appliance.stager.environment import supplied_environment
from appliance.stager.errors import BuildFailed, ReleaseFailed
from appliance.stager.plugins.plugin import Process


def test_a_release_gives_process_types() -> None:
    """The rest of the document is of another age; a type without a command is none."""
    text = "---\naddons: []\ndefault_process_types:\n  web: ./run $PORT\n  worker:\n  n: 5\n"
    assert parse_release(text, "hello") == [
        Process(type="web", command="./run $PORT"),
        Process(type="n", command="5"),
    ]


@pytest.mark.parametrize("text", ["", "---\n", "{}", "default_process_types:\n"])
def test_an_empty_release_gives_none(text: str) -> None:
    """The command may come from a Procfile, or when the app is started."""
    assert parse_release(text, "hello") == []


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("a: [", "no YAML"),
        ("- web", "no mapping"),
        ("default_process_types: [web]", "no mapping"),
        ("default_process_types: {web: [a]}", "command of web"),
        ("x" * (LONGEST + 1), "characters"),
        ("[" * 1500, "no YAML"),
        ("a: 2026-99-99", "no YAML"),
    ],
)
def test_a_release_that_is_none_is_refused(text: str, because: str) -> None:
    """The sentence says what is wrong with it."""
    with pytest.raises(ReleaseFailed, match=because):
        parse_release(text, "hello")


def test_a_launch_yml_has_processes_and_sidecars() -> None:
    """A sidecar is a process that names the types it runs beside."""
    text = (
        "processes:\n"
        "- {type: web, command: ./web}\n"
        "- type: agent\n  command: ./agent\n  limits: {memory: 10}\n"
        "  platforms: {cloudfoundry: {sidecar_for: [web, worker]}}\n"
    )
    assert parse_launch(text, "deps/0/launch.yml") == [
        Process(type="web", command="./web"),
        Process(type="agent", command="./agent", sidecar_for=("web", "worker"), memory=10),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "processes: web",
        "processes: [web]",
        "processes: [{type: web}]",
        "processes: [{command: x}]",
        "processes: [{type: a, command: b, limits: {memory: much}}]",
        "processes: [{type: a, command: b, limits: 5}]",
        "processes: [{type: a, command: b, platforms: [x]}]",
        "processes: [{type: a, command: b, platforms: {cloudfoundry: {sidecar_for: web}}}]",
    ],
)
def test_a_launch_yml_that_is_none_is_refused(text: str) -> None:
    """By its name, since there may be several."""
    with pytest.raises(BuildFailed, match=r"deps/1/launch\.yml"):
        parse_launch(text, "deps/1/launch.yml")


def test_the_later_buildpack_decides_what_a_type_is() -> None:
    """In the place of the first one, so that the order is that of the buildpacks."""
    first = [Process(type="web", command="a"), Process(type="x", command="b")]
    assert merged([first, [Process(type="web", command="c")]]) == [
        Process(type="web", command="c"),
        Process(type="x", command="b"),
    ]


def test_a_config_yml_says_name_and_version() -> None:
    """It is for people; what is no YAML is passed over."""
    assert parse_config("name: ruby\nversion: 1.10\nconfig: {}\n") == ("ruby", "1.1")
    assert parse_config("") == (None, None)
    assert parse_config("{") == (None, None)


def test_what_earlier_buildpacks_supply_is_found_by_its_folder() -> None:
    """The later one's first; any variable may come as a file in env."""
    names = {"0": ["bin", "env", "lib"], "1": ["bin", "include"]}
    assert supplied_environment(names, {"0": {"RUBY": "3"}}, "/deps") == {
        "PATH": "/deps/1/bin:/deps/0/bin:/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": "/deps/0/lib",
        "LIBRARY_PATH": "/deps/0/lib",
        "CPATH": "/deps/1/include",
        "RUBY": "3",
    }


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (215, "215B"), (1024, "1K"), (5347737, "5.1M"), (3 << 30, "3G")]
)
def test_sizes_are_short(size: int, text: str) -> None:
    """As Cloud Foundry's own logs have them."""
    assert size_text(size) == text
