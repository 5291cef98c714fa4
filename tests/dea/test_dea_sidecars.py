"""Sidecars: beside the main program, in the same sandbox; none of them runs without the others."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from appliance.dea.messages import Sidecar, Stop
from appliance.dea.programs import parse_end

NO_ROUTE: dict[str, Any] = {"uris": [], "port_wanted": False}
SLEEPS = "echo main has $MEMORY_LIMIT; sleep 600"


def helper(command: str, name: str = "helper", memory: int | None = 32) -> Sidecar:
    """A sidecar that runs *command*."""
    return Sidecar(name=name, command=command, memory=memory)


@pytest.mark.parametrize(
    ("sandbox", "network"), [("auto", "host"), ("auto", "isolated"), ("off", "host")]
)
async def test_sidecars_share_folder_and_network(
    make_world: Any, web: Any, sandbox: str, network: str
) -> None:
    """Each has its own label and share of the memory; a port of the one is the other's too."""
    asks = """\
echo sidecar has $MEMORY_LIMIT in $(basename "$PWD"); echo oh >&2
until (exec 3<> /dev/tcp/$VCAP_APP_HOST/$PORT) 2> /dev/null; do sleep 0.02; done
echo web is there; touch seen; sleep 600"""
    waits = "until [ -e seen ]; do sleep 0.02; done; echo saw it; sleep 600"
    async with make_world(sandbox, network=network) as world:
        sidecars = [helper(asks), helper(waits, "other one", None)]
        world.start(world.order(web, sidecars=sidecars))
        await world.running()
        await world.line("saw it")
        await world.line("web is there")
        await world.line("oh")
    lines = world.lines("APP/PROC/WEB/SIDECAR/HELPER")
    assert set(lines[:3]) == {"sidecar has 32m in app", "oh", "web is there"}
    assert world.lines("APP/PROC/WEB/SIDECAR/OTHER ONE")[0] == "saw it"
    assert world.lines()[0] == "listening"


@pytest.mark.parametrize("sandbox", ["auto", "off"])
async def test_a_sidecar_takes_the_instance_along(make_world: Any, app: Any, sandbox: str) -> None:
    """Its status is the instance's, and the others may finish what they do."""
    main = "trap 'echo tidied; exit 0' TERM; echo main has $MEMORY_LIMIT; sleep 600 & wait"
    async with make_world(sandbox) as world:
        ends = helper("sleep 0.1; exit 4")
        world.start(world.order(app(""), command=main, sidecars=[ends], **NO_ROUTE))
        gone = await world.exited()
    assert (gone["reason"], gone["exit_status"]) == ("CRASHED", 4)
    assert gone["exit_description"] == "APP/PROC/WEB/SIDECAR/HELPER: Exited with status 4"
    assert world.lines()[:2] == ["main has 96m", "tidied"]
    assert "Exit status 4" in world.lines("APP/PROC/WEB/SIDECAR/HELPER")


async def test_a_well_ended_sidecar_is_a_crash_too(world: Any, app: Any) -> None:
    """As on Cloud Foundry: what is to run for ever has ended."""
    order = world.order(app(""), command=SLEEPS, sidecars=[helper("true")], **NO_ROUTE)
    world.start(order)
    gone = await world.exited()
    assert (gone["reason"], gone["exit_status"]) == ("CRASHED", 0)


async def test_the_main_program_takes_its_sidecars_along(world: Any, app: Any) -> None:
    """What it said and how it ended is told as ever."""
    sidecar = helper("trap 'echo bye; exit 0' TERM; sleep 600 & wait")
    # Not at once: a shell that has not come to its trap would just end.
    order = world.order(app("", command="sleep 0.2; exit 5"), sidecars=[sidecar], **NO_ROUTE)
    world.start(order)
    gone = await world.exited()
    assert (gone["exit_status"], gone["exit_description"]) == (
        5,
        "APP/PROC/WEB: Exited with status 5",
    )
    assert world.lines("APP/PROC/WEB/SIDECAR/HELPER") == ["bye", "Exit status 0"]


async def test_a_stop_reaches_every_program_once(world: Any, app: Any) -> None:
    """The startup script passes it on to the app; nobody hears it twice."""
    counts = """\
import os, signal, time
def heard(*_):
    os.write(1, b"asked\\n"); time.sleep(0.2); os._exit(0)
signal.signal(signal.SIGTERM, heard)
os.write(1, b"up\\n")
while True: signal.pause()
"""
    sidecar = helper("python3 main.py")
    world.start(world.order(app(counts), sidecars=[sidecar], **NO_ROUTE))
    await world.wait_for_lines("up", 2)
    world.kit.publish(Stop(droplet="d1"))
    gone = await world.exited()
    assert gone["reason"] == "STOPPED"
    for source in ("APP/PROC/WEB", "APP/PROC/WEB/SIDECAR/HELPER"):
        assert world.lines(source)[:2] == ["up", "asked"]
        assert "asked" not in world.lines(source)[2:]


async def test_sidecars_that_will_not_end_are_killed(make_world: Any, app: Any) -> None:
    """After stop_timeout seconds there is no more asking."""
    stays = helper("trap '' TERM; echo up; while :; do sleep 1; done")
    async with make_world(stop_timeout=0.2) as world:
        command = "sleep 0.3; exit 6"
        world.start(world.order(app(""), command=command, sidecars=[stays], **NO_ROUTE))
        gone = await world.exited()
    assert (gone["reason"], gone["exit_status"]) == ("CRASHED", 6)


async def test_a_false_report_harms_nobody_else(world: Any, app: Any) -> None:
    """Where the appliance is no root, its pipes are the program's user's, too: it can write to
    them, and only tells lies of itself."""
    lies = "for pipe in /proc/[0-9]*/fd/*; do echo 99 1 > $pipe; echo x > $pipe; done; exit 8"
    sidecar = helper(f"sleep 0.1; ({lies}) 2> /dev/null")
    world.start(world.order(app(""), command=SLEEPS, sidecars=[sidecar], **NO_ROUTE))
    assert (await world.exited())["exit_status"] == 8
    world.start(world.order(app(""), command="exit 1", index=1, **NO_ROUTE))
    assert (await world.exited(2))["exit_status"] == 1


@pytest.mark.parametrize(
    ("line", "end"),
    [
        (b"0 0", (0, 0)), (b"2 143", (2, 143)), (b"3 1", None), (b"0 256", None),
        (b"1", None), (b"1 2 3", None), (b"-1 0", None), (b"\xff 1", None), (b"", None),
    ],
)  # fmt: skip
def test_reads_what_the_supervisor_writes(line: bytes, end: tuple[int, int] | None) -> None:
    """Of three programs; whatever else comes is passed over."""
    assert parse_end(line, 3) == end


async def test_sidecars_may_not_have_all_the_memory(world: Any, app: Any) -> None:
    """The sentence names both figures."""
    order = world.order(app(""), **NO_ROUTE)
    world.start(structs.replace(order, sidecars=[helper("true", memory=128)]))
    gone = await world.exited()
    assert gone["exit_description"] == (
        "The sidecars' memory (128 MB) leaves nothing of the instance's (128 MB)"
    )
