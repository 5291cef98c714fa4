"""``appliance bus`` against a real listener."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance import settings
from appliance.commands.bus import as_dict, body, line, printable
from appliance.commands.tally import MOST, Tally, kind
from appliance.config import NatsConfig
from appliance.endpoints import NAME, Endpoints
from appliance.kernel.bus import Message
from appliance.kernel.bus.listener.server import open_listener
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.errors import ConfigError
from tests.cli.conftest import Run

SECRETS = {
    "user": "ann",
    "password": "hunter2",
    "uri": "http://a:hunter2@h/x",
    "list": [{"token": "hunter2"}],
}


@dataclass
class Room:
    """A bus with a listener in a thread; it answers on ``echo`` and speaks on ``news``."""

    url: str = ""
    heard: list[Message] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        bus = LocalBus()
        self.token, self.stop = trio.lowlevel.current_trio_token(), trio.Event()
        async with open_listener(bus, "127.0.0.1:0") as listener, trio.open_nursery() as nursery:
            self.url = listener.url
            nursery.start_soon(self._echo, bus)
            nursery.start_soon(self._talk, bus)
            self.started.set()
            await self.stop.wait()
            nursery.cancel_scope.cancel()

    async def _echo(self, bus: LocalBus) -> None:
        async with bus.subscribe("echo") as asked:
            async for message in asked:
                self.heard.append(message)
                if message.reply:
                    bus.publish(message.reply, message.data)

    async def _talk(self, bus: LocalBus) -> None:
        while True:  # until somebody has heard it
            bus.publish(
                "news.secret", json.dumps(SECRETS).encode(), headers={"X-Appliance-Room": "dea"}
            )
            await trio.sleep(0.02)


@pytest.fixture
def room(run: Run) -> Iterator[Room]:
    """It runs, and there is an endpoints file that leads to it."""
    room = Room()
    thread = threading.Thread(target=room.run)
    thread.start()
    try:
        assert room.started.wait(10)
        file = Path(os.environ["XDG_RUNTIME_DIR"]) / "appliance" / NAME
        Endpoints(api="http://127.0.0.1:1", nats=room.url, pid=os.getpid()).write(file)
        yield room
    finally:
        trio.from_thread.run_sync(room.stop.set, trio_token=room.token)
        thread.join()


def test_sub_shows_messages_without_their_secrets(run: Run, room: Room) -> None:
    """In lines for people; --raw shows all of it."""
    done = run("bus", "sub", "news.>", "-n", "2")
    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    assert done.out.startswith("news.secret  from dea  {")
    assert "ann" in done.out
    assert "hunter2" not in done.out
    assert "hunter2" in run("bus", "sub", "news.>", "-n", "1", "--raw").out


def test_sub_is_one_object_a_line_for_programs(run: Run, room: Room) -> None:
    """With what the room's message says, as JSON inside of JSON."""
    first, second = run("bus", "sub", "-n", "2", "--output", "json").out.splitlines()
    found = json.loads(second)
    assert (found["subject"], found["sender"], found["data"]["user"]) == (
        "news.secret",
        "dea",
        "ann",
    )
    assert "hunter2" not in first + second


def test_pub_reaches_the_rooms(run: Run, room: Room) -> None:
    """It is there once the command has ended."""
    assert run("bus", "pub", "echo", "hi").out == "OK\n"
    assert [(one.data, one.headers["X-Appliance-Room"]) for one in room.heard] == [(b"hi", "cli")]


def test_request_shows_the_answer(run: Run, room: Room) -> None:
    """Or says at once that nobody listens."""
    assert run("bus", "request", "echo", "hi").out == "hi\n"
    assert run("bus", "request", "echo", '{"a":1}', "--output", "json").json["data"] == {"a": 1}
    nobody = run("bus", "request", "nobody", "hi")
    assert (nobody.code, nobody.out) == (69, "")
    assert "Nobody listens on nobody." in nobody.err


def test_mistakes_are_two_lines(run: Run, room: Room) -> None:
    """Not a traceback."""
    assert "empty token" in run("bus", "pub", "a..b", "hi").err
    assert run("bus", "sub", "a.>.b").code == 1


def test_an_appliance_without_a_listener_says_so(run: Run) -> None:
    """With what to do about it."""
    file = Path(os.environ["XDG_RUNTIME_DIR"]) / "appliance" / NAME
    Endpoints(api="http://127.0.0.1:1", pid=os.getpid()).write(file)
    done = run("bus", "sub")
    assert done.code == 69
    assert "takes no clients" in done.err
    assert "nats.bind" in done.err


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"", ""),
        (b"text", "text"),
        (b'{"a": "\\u001b[31m"}', '{"a": "\\u001b[31m"}'),
        (b"\x1b[31mred\nnext", "\\x1b[31mred\\nnext"),
        (b"\xff\xfe", "(2 bytes)"),
        (b"[" * 100_000, "[" * 100_000),
        (b"password=hunter2", "password=***"),
    ],
)
def test_any_data_fits_in_a_line(data: bytes, shown: str) -> None:
    """Nothing in it commands the terminal."""
    assert body(Message("a", data)) == shown


def test_a_line_tells_who_where_and_what() -> None:
    """Subjects are as foreign as data."""
    message = Message("a\x1bb", b"x", "re", {"X-Appliance-Room": "dea"})
    assert line(message) == "\x1b[36ma\\x1bb\x1b[0m  from dea  reply to re  x"
    assert as_dict(Message("a", b"x"))["data"] == "x"
    assert printable("ä\u202e") == "ä\\u202e"


def test_the_bus_stays_at_home_without_a_login() -> None:
    """``--listen`` moves every listener but this one: who speaks on the bus commands the rooms."""

    def binds(**environ: str) -> tuple[str, str]:
        loaded = settings.load(environ=environ, flags={"listen": "0.0.0.0"})
        return loaded.config.nats.bind, loaded.config.controller.bind

    assert binds() == ("127.0.0.1:7742", "0.0.0.0:7700")
    assert binds(APPLIANCE_NATS_TOKEN="t0ken") == ("0.0.0.0:7742", "0.0.0.0:7700")
    moved = settings.load(environ={}, flags={"port": 9000}).config.nats
    assert (moved.bind, moved.monitor_bind) == ("127.0.0.1:9042", "127.0.0.1:9043")


@pytest.mark.parametrize(
    "nats", [{"password": "x"}, {"user": "a b"}, {"token": "a@b"}, {"max_payload": 2 << 20}]
)
def test_settings_that_no_client_could_live_with_are_refused(nats: dict[str, Any]) -> None:
    """The sentence names the setting and shows no secret."""
    with pytest.raises(ConfigError, match=r"nats\.\w+ = ") as caught:
        NatsConfig(**nats)
    assert "a@b" not in str(caught.value)


def test_top_shows_the_busiest_subjects(run: Run, room: Room) -> None:
    """With rates, totals and who speaks; one look after the other."""
    done = run("bus", "top", "--every", "0.3", "-n", "2", "--output", "json")

    first, second = (json.loads(one) for one in done.out.splitlines())
    assert done.code == 0
    assert [one["subject"] for one in second["subjects"]] == ["news.secret"]
    assert second["subjects"][0]["messages"] > first["subjects"][0]["messages"]
    assert 0 < second["messages_per_second"] <= 60
    assert second["subjects"][0]["senders"] == ["dea"]


def test_top_is_a_table_for_people(run: Run, room: Room) -> None:
    """Only what matches the pattern is counted."""
    done = run("bus", "top", "news.*", "--every", "0.2", "-n", "1")

    assert done.code == 0
    assert "messages/s" in done.out
    assert "news.secret" in done.out
    assert "dea" in done.out


@pytest.mark.parametrize(
    ("subject", "kind_"),
    [
        ("dea.heartbeat", "dea.heartbeat"),
        ("dea.0123456789abcdef0123456789abcdef.start", "dea.*.start"),
        ("logs.lines.0f8fad5b-d9cb-469f-a165-70867728950e", "logs.lines.*"),
        ("_INBOX.9LyWmQ.1", "_INBOX.>"),
        ("a.12345.b", "a.*.b"),
        ("a.123", "a.123"),
    ],
)
def test_what_names_one_of_many_is_one_row(subject: str, kind_: str) -> None:
    """Else every instance and every answer had a row of its own."""
    assert kind(subject) == kind_


def test_a_flood_of_subjects_and_senders_costs_no_memory() -> None:
    """Beyond a bound they are counted together."""
    tally = Tally()
    for number in range(MOST + 50):
        tally.add(Message(f"x{number}", b"12", headers={"X-Appliance-Room": f"s{number}"}))
        tally.add(Message("same", b"", headers={"X-Appliance-Room": f"s{number}"}))
    rows = {row.subject: row for row in tally.look(2.0)}

    assert len(rows) == MOST + 1
    assert rows["(others)"].messages == 51
    assert rows["(others)"].bytes_rate == 51
    assert len(rows["same"].senders) <= 8
    assert tally.look(1.0)[0].rate == 0
