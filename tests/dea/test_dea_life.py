"""From a start order to running and to every kind of end, as others see it on the bus."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import structs

from appliance.dea.messages import Limits, Stop

CATCHES_TERM = """\
import os, signal, sys, time
def end(*_):
    os.write(1, b"asked to end\\n")
    time.sleep(0.1)
    os.write(1, b"all done\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
os.write(1, b"up\\n")
while True: signal.pause()
"""
NO_ROUTE: dict[str, Any] = {"uris": [], "port_wanted": False}


async def test_runs_without_a_sandbox_too(make_world: Any, web: Any) -> None:
    """Where the machine allows no isolation the home is a folder of the machine."""
    async with make_world("off") as world:
        world.start(world.order(web, health_check={"type": "http"}))
        route = await world.running()
        answer = await world.kit.http.request("GET", f"http://127.0.0.1:{route['port']}/x")
        assert answer.status == 200


async def test_runs_and_answers_on_its_port(world: Any, web: Any) -> None:
    """The order of the wire is reservation, STARTING, RUNNING, route; then it answers."""
    world.start(world.order(web))
    route = await world.running()
    answer = await world.kit.http.request("GET", f"http://{route['host']}:{route['port']}/x")
    assert answer.text == f"/x on {route['port']}"
    subjects = world.subjects()
    told = subjects[subjects.index(f"dea.{world.dea}.start") :]
    assert told[1:5] == ["dea.advertise", "dea.heartbeat", "dea.heartbeat", "router.register"]
    states = [body["droplets"][0]["state"] for name, body in world.heard if name == "dea.heartbeat"]
    assert states[:2] == ["STARTING", "RUNNING"]
    assert route["uris"] == ["hello.apps.localhost"]
    assert len(route["private_instance_id"]) == 64


async def test_a_number_as_droplet_is_told_as_a_string(world: Any, web: Any) -> None:
    """Controllers of 2012 number their apps; the wire back has strings."""
    world.start(world.order(web, droplet=7))
    await world.running()
    beat = await world.wait_for("dea.heartbeat")
    assert beat["droplets"][0]["droplet"] == "7"


async def test_stop_takes_the_route_first(world: Any, web: Any) -> None:
    """No request may come after the program was asked to end; the room is free at the last."""
    world.start(world.order(web))
    await world.running()
    world.heard.clear()
    world.kit.publish(Stop(droplet="d1"))
    gone = await world.exited()
    await world.wait_for("dea.advertise", lambda body: body["available_memory"] == 512)
    assert world.subjects()[:4] == [
        "dea.stop",
        "router.unregister",
        "droplet.exited",
        "dea.advertise",
    ]
    assert gone["reason"] == "STOPPED"
    assert "crash_timestamp" not in gone


@pytest.mark.parametrize("sandbox", ["auto", "off"])
@pytest.mark.parametrize("kind", ["ours", "2012", "launcher"])
async def test_a_program_may_finish_what_it_does(
    make_world: Any, app: Any, pack: Any, kind: str, sandbox: str
) -> None:
    """SIGTERM reaches the program, not only the shell that waits for it."""
    droplet = app(CATCHES_TERM)
    if kind == "2012":
        startup = "#!/bin/bash\ncd app\npython3 main.py &\nS=$!\nwait $S\n"
        droplet = pack({"app/main.py": CATCHES_TERM, "startup": startup})
    elif kind == "launcher":
        droplet = pack(
            {"app/main.py": CATCHES_TERM, "app/Procfile": "web: true && python3 main.py"}
        )
    async with make_world(sandbox) as world:
        world.start(world.order(droplet, **NO_ROUTE))
        await world.line("up")
        world.kit.publish(Stop(droplet="d1"))
        await world.exited()
    assert [line for line in world.lines() if "e" in line][:2] == ["asked to end", "all done"]


async def test_a_program_that_will_not_end_is_killed(make_world: Any, app: Any) -> None:
    """After stop_timeout seconds there is no more asking."""
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\n"
    async with make_world(stop_timeout=0.2) as world:
        world.start(world.order(app(code + "while True: signal.pause()"), **NO_ROUTE))
        await world.line("up")
        world.kit.publish(Stop(droplet="d1"))
        gone = await world.exited()
    assert (gone["reason"], gone["exit_description"]) == (
        "STOPPED",
        "APP/PROC/WEB: Exited with status 137 (killed by signal KILL)",
    )


@pytest.mark.parametrize(
    ("code", "status", "description"),
    [
        ("raise SystemExit(3)", 3, "3"),
        ("import os; os.kill(os.getpid(), 11)", 139, "139 (killed by signal SEGV)"),
    ],
)
async def test_a_crash_is_told_with_its_status(
    world: Any, app: Any, code: str, status: int, description: str
) -> None:
    """The controller learns why, and when."""
    world.start(world.order(app(f"print('so long', flush=True)\n{code}")))
    gone = await world.exited()
    assert (gone["reason"], gone["exit_status"]) == ("CRASHED", status)
    assert gone["exit_description"] == f"APP/PROC/WEB: Exited with status {description}"
    assert gone["dea"] == world.dea
    assert gone["crash_timestamp"] > 1_600_000_000
    assert "router.unregister" not in world.subjects()
    assert "so long" in world.lines()  # perhaps after what the shell says on the other pipe
    assert world.lines()[-1] == f"Exit status {description}"


async def test_a_crash_while_running_takes_its_route_along(world: Any, app: Any) -> None:
    """First the router, then the controller."""
    code = """\
import os, socket
s = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
s.accept(); s.accept()
raise SystemExit(1)
"""
    world.start(world.order(app(code)))
    route = await world.running()
    await trio.aclose_forcefully(await trio.open_tcp_stream(route["host"], route["port"]))
    await world.exited()
    subjects = world.subjects()
    assert subjects.index("router.unregister") + 1 == subjects.index("droplet.exited")


async def test_who_never_listens_has_crashed(world: Any, app: Any) -> None:
    """The sentence names port and time; the program does not go on."""
    check = {"type": "port", "timeout": 0.3}
    world.start(world.order(app("import time; time.sleep(600)"), health_check=check))
    gone = await world.exited()
    assert gone["reason"] == "CRASHED"
    assert gone["exit_description"].startswith("Never listened on port ")
    assert gone["exit_description"].endswith(" within 0.3 s")


async def test_http_check_wants_a_good_answer(world: Any, web: Any) -> None:
    """A 500 is no health; a 200 is."""
    bad = {"type": "http", "endpoint": "/bad", "timeout": 0.5}
    world.start(world.order(web, health_check=bad))
    gone = await world.exited()
    assert re.fullmatch(
        "Instance never healthy after 0.5s: Failed to make HTTP request to '/bad' on port [0-9]+:"
        " received status code 500 in [0-9]+ms",
        gone["exit_description"],
    )
    world.start(world.order(web, health_check={"type": "http", "endpoint": "/good"}))
    await world.running()


async def test_wrong_bytes_are_never_started(world: Any, web: Any, app: Any) -> None:
    """SHA-1 and SHA-256 are both checked, unlike in 2012."""
    other = app("print('evil')")
    order = world.order(web)
    world.droplets[web.sha1] = other.data
    world.start(order)
    gone = await world.exited()
    assert gone["exit_description"].startswith("Droplet could not be fetched: ")
    assert web.sha1 in gone["exit_description"]
    world.start(structs.replace(world.order(web), sha256="0" * 64))
    gone = await world.exited(2)
    assert "sha256:" in gone["exit_description"]
    assert world.lines() == []


async def test_what_is_no_droplet_is_refused(world: Any, pack: Any, web: Any) -> None:
    """An archive that climbs out, and one with nothing to run."""
    world.start(world.order(pack({"../evil": "x"})))
    assert (await world.exited())["exit_description"].startswith("Droplet could not be unpacked: ")
    world.start(world.order(pack({"README": "x"})))
    gone = await world.exited(2)
    assert gone["exit_description"] == "Droplet has no start command for the process type web"


async def test_the_next_source_is_asked(world: Any, web: Any) -> None:
    """A dead archiver and one without the droplet do not matter while a third has it."""
    order = world.order(web)
    dead, empty = "http://127.0.0.1:1/x", f"{world.archiver}/droplets/{'0' * 40}"
    world.start(
        structs.replace(order, executableUri=dead, executableUris=[empty, order.executableUri])
    )
    await world.running()


async def test_starts_of_one_droplet_download_it_once(world: Any, app: Any) -> None:
    """The second waits for the first; each runs in a folder of its own."""
    world.gate = trio.Event()
    droplet = app("import time; print('up', flush=True); time.sleep(600)")
    for index in range(3):
        world.start(world.order(droplet, index=index, **NO_ROUTE))
    await world.wait_for("dea.heartbeat", count=3)
    world.gate.set()
    running = lambda body: body["droplets"][0]["state"] == "RUNNING"  # noqa: E731
    await world.wait_for("dea.heartbeat", running, count=3)
    assert world.downloads == [droplet.sha1]


async def test_a_stopped_download_does_not_stop_the_others(world: Any, app: Any) -> None:
    """Whoever waits takes over when the one who fetched is stopped."""
    world.gate = trio.Event()
    droplet = app("import time; time.sleep(600)")
    world.start(world.order(droplet, index=0, **NO_ROUTE))
    world.start(world.order(droplet, index=1, **NO_ROUTE))
    await world.wait_for("dea.heartbeat", count=2)
    world.kit.publish(Stop(droplet="d1", indices=[0]))
    assert (await world.exited())["index"] == 0
    world.gate.set()
    await world.wait_for(
        "dea.heartbeat", lambda body: [d["state"] for d in body["droplets"]] == ["RUNNING"]
    )


async def test_a_local_file_is_taken_only_if_it_is_the_droplet(
    world: Any, web: Any, tmp_path: Path
) -> None:
    """``executableFile`` saves the download; another file by that name does not count."""
    right, wrong = tmp_path / "right.tgz", tmp_path / "wrong.tgz"
    right.write_bytes(web.data)
    wrong.write_bytes(b"something else")
    order = world.order(web)
    world.start(
        structs.replace(order, executableFile=str(wrong), executableUri="http://127.0.0.1:1/")
    )
    assert (await world.exited())["reason"] == "CRASHED"
    world.start(
        structs.replace(order, executableFile=str(right), executableUri="http://127.0.0.1:1/")
    )
    await world.running()
    assert world.downloads == []


async def test_too_much_memory_ends_it(make_world: Any, app: Any) -> None:
    """The sentence says so; it is no ordinary crash of the program."""
    code = "import time; hog = bytearray(100 << 20); print('up', flush=True); time.sleep(600)"
    async with make_world(monitor=0.1) as world:
        limits = Limits(mem=64, disk=64, fds=256)
        world.start(world.order(app(code), limits=limits, **NO_ROUTE))
        gone = await world.exited()
    assert gone["reason"] == "CRASHED"
    said = r"APP/PROC/WEB: Exited with status 137 \(out of memory\), used [0-9]+ MB of 64 MB"
    assert re.fullmatch(said, gone["exit_description"])


async def test_too_many_files_end_it(make_world: Any, app: Any) -> None:
    """No file is over the limit alone, but all together are."""
    code = """\
import time
for n in range(8): open(f"f{n}", "wb").write(bytes(1 << 20))
time.sleep(600)
"""
    async with make_world(monitor=0.1) as world:
        limits = Limits(mem=64, disk=4, fds=256)
        world.start(world.order(app(code), limits=limits, **NO_ROUTE))
        gone = await world.exited()
    assert gone["exit_description"].startswith("Out of disk: used ")


async def test_lines_arrive_in_order(world: Any, app: Any) -> None:
    """Every line once, each output in its order, no two at the same time."""
    code = """\
import sys
for n in range(2000): print("out", n)
for n in range(2000): print("err", n, file=sys.stderr)
sys.stdout.flush()
sys.stdout.buffer.write(b"\\xff no newline at the end")
"""
    world.start(world.order(app(code), **NO_ROUTE))
    await world.exited()
    lines = [
        line
        for name, body in world.heard
        if name == "logs.lines.app-1"
        for line in body["lines"]
        if line["source_type"] == "APP/PROC/WEB"
    ]
    out = [line["text"] for line in lines if not line["error"]]
    err = [line["text"] for line in lines if line["error"]]
    assert out[:-1] == [*(f"out {n}" for n in range(2000)), "� no newline at the end"]
    assert err == [f"err {n}" for n in range(2000)]
    assert out[-1] == "Exit status 0"
    times = [line["timestamp"] for line in lines]
    assert times == sorted(set(times))


async def test_the_cell_tells_how_it_goes(world: Any, web: Any) -> None:
    """What ``cf logs`` shows besides the app's own lines."""
    world.start(world.order(web, instance_guid="guid-1"))
    await world.running()
    cell = f"Cell {world.dea}"
    assert world.lines("CELL") == [
        f"{cell} creating container for instance guid-1",
        f"{cell} successfully created container for instance guid-1",
        "Starting health monitoring of container",
        "Container became healthy",
    ]


async def test_the_environment_needs_no_quotes(world: Any, app: Any) -> None:
    """Values reach the program as they were given, whatever a shell would make of them."""
    code = """\
import json, os
print(json.dumps({k: os.environ.get(k) for k in ("A", "HOME", "VCAP_SERVICES", "PORT", "B")}))
"""
    nasty = "$(touch /tmp/x) \"'`\\ \n end"
    services = [{"label": "db", "name": "my", "credentials": {"uri": "mysql://u:p'\"@h/d"}}]
    env = [f"A={nasty}", "B=\0--bind", "no equals sign"]
    world.start(world.order(app(code), env=env, services=services, **NO_ROUTE))
    await world.exited()
    told = json.loads(world.lines()[0])
    assert told["A"] == nasty
    assert told["B"] is None
    assert told["PORT"] is None
    assert json.loads(told["VCAP_SERVICES"])["db"][0]["credentials"] == services[0]["credentials"]
    if world.kit.spawner.sandbox.isolated:
        assert told["HOME"] == "/home/vcap/app"


async def test_other_processes_run_their_own_command(world: Any, app: Any) -> None:
    """A worker is labelled as such, has no port, and runs at once."""
    droplet = app("print('web')", **{"app/Procfile": "worker: echo I am $USER; sleep 600"})
    world.start(world.order(droplet, process_type="worker", **NO_ROUTE))
    await world.line("I am vcap")
    assert world.lines("APP/PROC/WORKER") == ["I am vcap"]
    assert "router.register" not in world.subjects()


async def test_the_order_may_replace_the_command(world: Any, app: Any) -> None:
    """Also for a droplet whose startup script has never heard of that."""
    order = world.order(app("print('not me')"), command="echo ours; exit 4", **NO_ROUTE)
    world.start(order)
    assert (await world.exited())["exit_status"] == 4
    startup = "#!/bin/bash\necho not me\n"
    old = app("print('not me')", startup=startup)
    world.start(world.order(old, command="echo theirs; exit 5", **NO_ROUTE))
    assert (await world.exited(2))["exit_status"] == 5
    assert [line for line in world.lines() if "Exit status" not in line] == ["ours", "theirs"]


async def test_a_droplet_without_startup_is_launched(world: Any, pack: Any) -> None:
    """As from a current Cloud Foundry: profiles first, then the command of its staging."""
    droplet = pack(
        {
            "app/.profile": "export C=$B-profile\n",
            "profile.d/one.sh": "export A=one\n",
            "deps/0/profile.d/two.sh": "export B=two\n",
            "staging_info.yml": "detected_buildpack: x\nstart_command: echo $A $B $C $DEPS_DIR\n",
        }
    )
    world.start(world.order(droplet, **NO_ROUTE))
    await world.exited()
    assert world.lines()[0].startswith("one two two-profile /")


async def test_the_runtime_is_put_into_the_startup_script(world: Any, pack: Any) -> None:
    """A droplet of 2012 gets the path of the program, its arguments, and the old names."""
    startup = "#!/bin/bash\ncd app\n%VCAP_LOCAL_RUNTIME% -c 'import sys; print(sys.argv)' $@\n"
    droplet = pack({"app/x": "", "startup": startup + "echo $VMC_APP_NAME $MODE\n"})
    info = {"name": "python3", "environment": {"MODE": "old"}}
    world.start(world.order(droplet, runtime_info=info))
    gone = await world.exited()
    route = gone["instance"]
    assert route
    lines = world.lines()
    assert lines[0].startswith("['-c', '-p', '")
    assert lines[1] == "hello old"
    world.start(world.order(droplet, runtime_info={"name": "cobol"}))
    assert "the runtime cobol is not installed" in (await world.exited(2))["exit_description"]


@pytest.mark.parametrize("sandbox", ["auto", "off"])
async def test_stopping_the_dea_leaves_nothing(
    make_world: Any, app: Any, web: Any, root: Path, sandbox: str
) -> None:
    """Routes go, everybody is told DEA_SHUTDOWN, no process and no file is left."""
    async with make_world(sandbox, root=root) as world:
        world.start(world.order(web))
        await world.running()
        mark = f"600.{int(world.kit.ids.hex(8), 16)}"  # seconds that nobody else sleeps
        forker = f"(setsid sleep {mark} &); echo up; sleep {mark}"
        world.start(world.order(app(""), command=forker, index=1, **NO_ROUTE))
        await world.line("up")
        assert processes_with(mark)
        spawner = world.kit.spawner
    gone = [body for name, body in world.heard if name == "droplet.exited"]
    assert {(body["index"], body["reason"]) for body in gone} == {
        (0, "DEA_SHUTDOWN"),
        (1, "DEA_SHUTDOWN"),
    }
    assert "router.unregister" in world.subjects()
    assert not spawner.children
    assert list(root.iterdir()) == []
    with trio.fail_after(2):
        while processes_with(mark):  # noqa: ASYNC110 (the kernel has no event for it)
            await trio.sleep(0.01)


async def test_stopped_while_its_sandbox_is_made_leaves_nothing(world: Any, app: Any) -> None:
    """The halves of a sandbox must go together, at whatever moment the stop comes."""
    mark = f"600.{int(world.kit.ids.hex(8), 16)}"
    droplet = app("", command=f"sleep {mark}")
    for number in range(10):
        order = world.order(droplet, instance_guid=f"i{number}", **NO_ROUTE)
        world.start(order)
        running = partial(is_running, f"i{number}")
        await world.wait_for("dea.heartbeat", running)
        world.kit.publish(Stop(droplet="d1"))
        await world.exited(number + 1)
    with trio.fail_after(2):
        while processes_with(mark):  # noqa: ASYNC110 (the kernel has no event for it)
            await trio.sleep(0.01)


def is_running(instance: str, heartbeat: dict[str, Any]) -> bool:
    """Whether *heartbeat* is of *instance* alone, and tells that it runs."""
    return [(d["instance"], d["state"]) for d in heartbeat["droplets"]] == [(instance, "RUNNING")]


def processes_with(word: str) -> list[bytes]:
    """The command lines on this machine that have *word* in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return [command for command in found if word.encode() in command]
