"""The pure decisions: placement, environment, launch, readiness, lines, endings, ports."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from appliance.dea.checks import check_for, pauses
from appliance.dea.ending import describe, over_memory, shell_status
from appliance.dea.environment import environment
from appliance.dea.errors import DropletUnusable
from appliance.dea.instance import Instance, folder_name
from appliance.dea.launch import COMMAND_VARIABLE, Contents, launch
from appliance.dea.lines import LONGEST_LINE, MESSAGE, LineSplitter, batches
from appliance.dea.messages import Limits, Start
from appliance.dea.output import LogFile
from appliance.dea.placement import Room, taint
from appliance.dea.ports import Ports
from appliance.dea.rates import BURST, RATE, Allowance
from appliance.kernel.bus.codec import encode
from appliance.kernel.clock import Ids
from appliance.kernel.vcap import database_url, services_by_label
from appliance.logs.messages import Line, LogLines

ORDER = Start(
    droplet=1,
    index=2,
    name="my app/../x",
    version="abc-1",
    sha1="a" * 40,
    executableFile="",
    executableUri="http://h/d",
    uris=["x.localhost"],
    limits=Limits(mem=256, disk=512, fds=100),
)


def instance(order: Start = ORDER, port: int | None = 25000) -> Instance:
    """An instance of *order* that was accepted at 1,000,000,000 s."""
    return Instance(
        order=order,
        id="i1",
        private_id="p",
        folder=Path("/x"),
        host="127.0.0.1",
        uris=order.uris,
        since=1_000_000_000.5,
        port=port,
    )


# Placement.


def test_an_empty_dea_offers_at_once_and_a_full_one_late() -> None:
    """10 ms for each instance of the same droplet, 100 ms for full memory, 250 ms at most."""
    empty = Room(max_memory=1000, reserved=0, max_instances=10, instances=0)
    assert taint(empty, 0) == 0
    half = replace(empty, reserved=500)
    assert taint(half, 0) == pytest.approx(0.050)
    assert taint(half, 3) == pytest.approx(0.080)
    assert taint(half, 100) == 0.250


@pytest.mark.parametrize(
    ("memory", "reserved", "instances", "takes"),
    [(1000, 0, 0, True), (1001, 0, 0, False), (1, 1000, 0, False), (1, 0, 10, False),
     (0, 0, 0, False), (-5, 0, 0, False)],
)  # fmt: skip
def test_takes_what_has_room(memory: int, reserved: int, instances: int, takes: bool) -> None:
    """By memory promised and by count; an order for nothing is no order."""
    room = Room(max_memory=1000, reserved=reserved, max_instances=10, instances=instances)
    assert room.takes(memory) is takes


# Environment.


def test_tells_an_app_of_today_what_it_expects() -> None:
    """The names of Cloud Foundry's documentation, and none of 2011."""
    env = environment(instance(), "/home/vcap")
    assert env["HOME"] == "/home/vcap/app"
    assert env["PORT"] == env["VCAP_APP_PORT"] == env["CF_INSTANCE_PORT"] == "25000"
    assert env["CF_INSTANCE_ADDR"] == "127.0.0.1:25000"
    assert json.loads(env["CF_INSTANCE_PORTS"]) == [{"external": 25000, "internal": 25000}]
    assert (env["MEMORY_LIMIT"], env["DEPS_DIR"]) == ("256m", "/home/vcap/deps")
    assert (env["INSTANCE_INDEX"], env["CF_INSTANCE_GUID"]) == ("2", "i1")
    told = json.loads(env["VCAP_APPLICATION"])
    assert told["limits"] == {"fds": 100, "mem": 256 << 20, "disk": 512 << 20}
    assert (told["instance_index"], told["port"]) == (2, 25000)
    assert told["state_timestamp"] == 1_000_000_000
    assert not [name for name in env if name.startswith("VMC_")]


def test_the_controllers_word_on_the_application_counts() -> None:
    """What it sends lies over what the DEA knows, and leaves the rest."""
    order = structs.replace(ORDER, vcap_application={"limits": {"mem": 256}, "space_name": "dev"})
    told = json.loads(environment(instance(order), "/h")["VCAP_APPLICATION"])
    assert (told["limits"], told["space_name"], told["instance_id"]) == ({"mem": 256}, "dev", "i1")


def test_without_a_port_there_is_no_port() -> None:
    """The old names are there and empty; a program that needs PORT fails plainly."""
    env = environment(instance(port=None), "/h")
    assert "PORT" not in env
    assert (env["VCAP_APP_PORT"], env["CF_INSTANCE_PORTS"]) == ("", "[]")


def test_the_user_has_the_last_word() -> None:
    """Over ours, and over the runtime's of 2012."""
    order = structs.replace(
        ORDER,
        env=["LANG=de", "A=b=c", "EMPTY=", "nonsense", "=x", "N=\0x"],
        runtime_info={"name": "ruby19", "environment": {"A": "runtime", "R": "1"}},
    )
    env = environment(instance(order), "/h")
    assert (env["LANG"], env["A"], env["EMPTY"], env["R"]) == ("de", "b=c", "", "1")
    assert env["VMC_APP_NAME"] == "my app/../x"
    assert not {"nonsense", "", "N"} & env.keys()


@given(st.lists(st.text()), st.text(), st.text())
def test_no_order_makes_an_impossible_environment(
    given_env: list[str], name: str, version: str
) -> None:
    """A NUL would become another option of the sandbox; an odd name stops every program."""
    order = structs.replace(ORDER, env=given_env, name=name, version=version, runtime_info={})
    for key, value in environment(instance(order), "/h").items():
        assert key
        assert "=" not in key
        assert "\0" not in key + value


def test_services_are_grouped_and_the_database_found() -> None:
    """Only what an app may know; the scheme is the one that frameworks expect."""
    mine = {"label": "my", "name": "db", "secret_of_ours": 1, "plan": "free",
            "credentials": {"uri": "postgresql://u:p@h:1/d?x=1"}}  # fmt: skip
    other = {"name": "ups", "credentials": {"uri": "https://h"}}
    services = services_by_label([other, mine])
    assert services["my"] == [{key: mine[key] for key in ("name", "label", "plan", "credentials")}]
    assert list(services) == ["user-provided", "my"]
    assert database_url(services) == "postgres://u:p@h:1/d?x=1"
    assert database_url(services_by_label([other])) == ""


def test_folder_names_are_harmless() -> None:
    """Whatever the app is called."""
    assert folder_name(ORDER, "i1") == "my-app-x-2-i1"
    assert folder_name(structs.replace(ORDER, name="../.."), "i1") == "app-2-i1"


# Launch.

OURS = f'#!/bin/bash\nif [ -n "${COMMAND_VARIABLE}" ]; then …'
INFO = {"start_command": "run web", "process_types": {"worker": "run worker"}}


@pytest.mark.parametrize(
    ("contents", "order", "first", "command"),
    [
        ({"startup": OURS}, {}, "./startup", None),
        ({"startup": OURS}, {"command": "x"}, "./startup", "x"),
        ({"startup": OURS}, {"process_type": "worker"}, "./startup", "run worker"),
        ({"startup": "2012"}, {}, "./startup", None),
        ({"startup": "2012"}, {"command": "x"}, "/bin/bash", "x"),
        ({}, {}, "/bin/bash", "run web"),
        ({"staging_info": {}, "procfile": "a: b\r\nweb:  go  \n"}, {}, "/bin/bash", "go"),
    ],
)
def test_finds_what_to_run(
    contents: dict[str, Any], order: dict[str, Any], first: str, command: str | None
) -> None:
    """The droplet's script where it can do it, our launcher where not."""
    fields: dict[str, Any] = {"has_app": True, "staging_info": INFO}
    found = Contents(**fields | contents)
    plan = launch(found, structs.replace(ORDER, **order), 25000)
    assert plan.argv[0] == first
    assert plan.argv[1:] == ("-p", "25000") if first == "./startup" else "exec" in plan.argv[2]
    assert plan.env.get(COMMAND_VARIABLE) == command


@pytest.mark.parametrize(
    ("contents", "order"),
    [
        ({"has_app": True}, {}),
        ({"has_app": False}, {"command": "x"}),
        ({"has_app": True, "startup": OURS}, {"process_type": "worker"}),
    ],
)
def test_nothing_to_run_is_said(contents: dict[str, Any], order: dict[str, Any]) -> None:
    """Rather than starting the wrong thing."""
    with pytest.raises(DropletUnusable):
        launch(Contents(**contents), structs.replace(ORDER, **order), None)


# Readiness.


@pytest.mark.parametrize(
    ("health_check", "port", "kind", "timeout"),
    [
        (None, 1, "port", 60), (None, None, "process", 60),
        ({"type": "process"}, 1, "process", 60), ({"type": "http"}, None, "process", 60),
        ({"type": "http", "endpoint": "/x"}, 1, "http", 60),
        ({"type": "port", "timeout": 5}, 1, "port", 5), ({"timeout": "soon"}, 1, "port", 60),
        ({"timeout": -1}, 1, "port", 60),
    ],
)  # fmt: skip
def test_chooses_the_check(
    health_check: dict[str, Any] | None, port: int | None, kind: str, timeout: float
) -> None:
    """Nonsense in the order falls back to what is usual."""
    check = check_for(health_check, port, 60)
    assert (check.kind, check.timeout) == (kind, timeout)


def test_looks_often_at_first() -> None:
    """20 ms, growing to 500 ms and no further."""
    waits = list(islice(pauses(), 30))
    assert (waits[0], waits[-1]) == (0.020, 0.500)
    assert waits == sorted(waits)


# Output.


@given(st.lists(st.binary(max_size=40)))
def test_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes]) -> None:
    """Cut anywhere, the lines are those of the whole."""
    splitter = LineSplitter()
    told = [line for chunk in chunks for line in splitter.add(chunk)] + splitter.end()
    whole = b"".join(chunks).split(b"\n")
    expected = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in whole[:-1]]
    if whole[-1]:
        expected.append(whole[-1].decode("utf-8", "replace"))
    assert told == expected


@pytest.mark.parametrize("end", [b"\n", b""])
def test_long_lines_are_told_in_pieces(end: bytes) -> None:
    """At most 64 KiB, and never cut inside of a character."""
    text = "é" * LONGEST_LINE + "x"
    splitter = LineSplitter()
    told = splitter.add(b"y" + text.encode() + end) + splitter.end()
    assert "".join(told) == "y" + text
    assert len(told) == 3
    assert max(len(line.encode()) for line in told) <= LONGEST_LINE


def test_messages_fit_the_bus() -> None:
    """Even lines of nothing but control characters, which JSON writes with six bytes."""
    lines = [
        Line(timestamp=10**18 + n, text="\x01" * length, source_type="APP/PROC/WEB", instance="99")
        for n, length in enumerate([LONGEST_LINE] * 4 + [0] * 20_000)
    ]
    groups = list(batches(lines))
    assert [line for group in groups for line in group] == lines
    assert max(len(encode(LogLines(source="x" * 36, lines=group))) for group in groups) <= MESSAGE


def test_who_talks_too_much_is_heard_again_later() -> None:
    """A burst at once, then so much a second."""
    allowance = Allowance(now=0)
    assert allowance.covers(BURST, now=0)
    assert not allowance.covers(RATE, now=0.5)
    assert allowance.covers(RATE, now=1)
    assert not allowance.covers(1, now=1)


def test_log_files_keep_the_newest(tmp_path: Path) -> None:
    """They never grow above their limit."""
    with LogFile(tmp_path, "stdout.log", limit=100) as file:
        for number in range(50):
            file.append(b"line %02d\n" % number)
    kept = (tmp_path / "logs" / "stdout.log").read_bytes()
    assert len(kept) <= 100
    assert kept.endswith(b"line 48\nline 49\n")


@pytest.mark.parametrize("trap", ["logs", "logs/stdout.log"])
def test_log_files_are_not_led_elsewhere(tmp_path: Path, trap: str) -> None:
    """A droplet that brings links in the place of its logs gets no log files."""
    top, target = tmp_path / "top", tmp_path / "target"
    (top / trap).parent.mkdir(parents=True)
    if trap == "logs":
        target.mkdir()
    (top / trap).symlink_to(target)
    with LogFile(top, "stdout.log") as file:
        file.append(b"x")
    assert not target.exists() or not list(target.iterdir())


# Endings and ports.


def test_endings_are_sentences() -> None:
    """Signals by name, whether we see them or a shell tells of them."""
    killed = "APP/PROC/WEB: Exited with status 137 (killed by signal KILL)"
    assert describe("APP/PROC/WEB", shell_status(-9)) == killed
    assert describe("APP/PROC/WEB", 137) == killed
    assert describe("APP/TASK/x", shell_status(3)) == "APP/TASK/x: Exited with status 3"
    assert describe("APP/TASK/x", 255) == "APP/TASK/x: Exited with status 255"
    assert over_memory("APP/PROC/WEB", 300 * 1024 * 1024 + 1, 256 << 20) == (
        "APP/PROC/WEB: Exited with status 137 (out of memory), used 301 MB of 256 MB"
    )


def test_a_port_is_handed_out_once() -> None:
    """In turn, so that a freed one rests, and outside of the appliance's own block."""
    ports = Ports(Ids(seed=1))
    taken = [ports.take() for _ in range(100)]
    assert len(set(taken)) == 100
    assert all(20_000 <= port <= 32_767 for port in taken)
    ports.give_back(taken[0])
    assert ports.take() not in taken
