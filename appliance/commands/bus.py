"""``appliance bus``: watch the bus, and take part in it, as any NATS client could."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click
import trio

from appliance import settings
from appliance.buses import nats_login
from appliance.commands.api import Api, connected
from appliance.commands.errors import ApiError, NoBusListener
from appliance.commands.screen import Screen, output, size
from appliance.commands.tally import Row, Tally
from appliance.commands.target import Target, Wanted, find
from appliance.kernel.bus.servers import servers
from appliance.kernel.redact import redact, redact_value
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER

if TYPE_CHECKING:
    from appliance.kernel.bus import Bus, Message

NAME = "appliance bus"  # how the listener shows these clients


@click.group()
def bus() -> None:
    """Watch the bus between the rooms, and speak on it."""


def _raw(command: Any) -> Any:
    return click.option("--raw", is_flag=True, help="Show passwords and tokens, too.")(command)


@bus.command()
@click.argument("pattern", default=">")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("--queue", default="", help="Share the messages with others of this queue group.")
@_raw
@output
@click.pass_obj
def sub(
    wanted: Wanted, screen: Screen, pattern: str, count: int | None, queue: str, raw: bool
) -> None:
    """Show what is published to PATTERN until Ctrl-C; without one, everything.

    In a pattern, * stands for one token and a final > for the rest. With JSON, every message
    is an object of its own.
    """

    async def work(bus: Bus) -> None:
        left = count
        async with bus.subscribe(pattern, queue=queue) as subscription:
            async for message in subscription:
                screen.say(line(message, raw=raw))
                screen.item(as_dict(message, raw=raw))
                left = left and left - 1
                if left == 0:
                    return

    _with_bus(wanted, work)


@bus.command()
@click.argument("subject")
@click.argument("data", default="")
@output
@click.pass_obj
def pub(wanted: Wanted, screen: Screen, subject: str, data: str) -> None:
    """Publish DATA to SUBJECT; nobody may be listening."""

    async def work(bus: Bus) -> None:
        bus.publish(subject, data.encode(), headers={SENDER_HEADER: "cli"})
        await bus.flush()

    _with_bus(wanted, work)
    screen.ok()
    screen.result({"subject": subject, "bytes": len(data.encode())})


@bus.command()
@click.argument("subject")
@click.argument("data", default="")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for the answer.",
)
@_raw
@output
@click.pass_obj
def request(
    wanted: Wanted, screen: Screen, subject: str, data: str, timeout: float, raw: bool
) -> None:
    """Ask SUBJECT with DATA, and show the first answer."""

    async def work(bus: Bus) -> Message:
        return await bus.request(
            subject, data.encode(), timeout=timeout, headers={SENDER_HEADER: "cli"}
        )

    answer = _with_bus(wanted, work)
    screen.say(body(answer, raw=raw))
    screen.result(as_dict(answer, raw=raw))


@bus.command()
@click.argument("pattern", default=">")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after so many looks.")
@output
@click.pass_obj
def top(wanted: Wanted, screen: Screen, pattern: str, every: float, count: int | None) -> None:
    """Show the busiest subjects that match PATTERN until Ctrl-C; without one, of all.

    Guids and the like count as one: dea.*.start. With JSON, every look is an object of its own.
    """

    async def listen(bus: Bus, tally: Tally, *, task_status: trio.TaskStatus[None]) -> None:
        async with bus.subscribe(pattern) as subscription:
            task_status.started()
            async for message in subscription:
                tally.add(message)

    async def work(bus: Bus) -> None:
        tally, left = Tally(), count
        async with trio.open_nursery() as nursery:
            await nursery.start(listen, bus, tally)
            last = trio.current_time()
            while left is None or left > 0:
                await trio.sleep(every)
                now = trio.current_time()
                show_rows(screen, tally.look(now - last))
                last, left = now, left and left - 1
            nursery.cancel_scope.cancel()

    _with_bus(wanted, work)


def show_rows(screen: Screen, rows: list[Row]) -> None:
    """One look: on a terminal in the place of the one before."""
    total = sum(row.rate for row in rows)
    bytes_total = sum(row.bytes_rate for row in rows)
    screen.item(
        {
            "messages_per_second": round(total, 1),
            "bytes_per_second": round(bytes_total, 1),
            "subjects": [
                {
                    "subject": row.subject,
                    "messages_per_second": round(row.rate, 1),
                    "bytes_per_second": round(row.bytes_rate, 1),
                    "messages": row.messages,
                    "senders": list(row.senders),
                }
                for row in rows
            ],
        }
    )
    if screen.live:
        click.clear()
        rows = rows[: max(1, shutil.get_terminal_size().lines - 4)]
    screen.say(f"{total:.1f} messages/s, {size(bytes_total)}/s")
    screen.table(
        ("subject", "messages/s", "bytes/s", "messages", "from"),
        [
            (printable(row.subject), f"{row.rate:.1f}", size(row.bytes_rate), str(row.messages),
             printable(", ".join(row.senders)))
            for row in rows
        ],
    )  # fmt: skip
    screen.say()


def line(message: Message, *, raw: bool = False) -> str:
    """One message in one line: subject, sender, reply subject and data."""
    parts = [click.style(printable(message.subject), fg="cyan")]
    if sender := message.headers.get(SENDER_HEADER, ""):
        parts.append(f"from {printable(sender)}")
    if message.reply:
        parts.append(f"reply to {printable(message.reply)}")
    shown = body(message, raw=raw)
    return "  ".join([*parts, shown] if shown else parts)


def body(message: Message, *, raw: bool = False) -> str:
    """The data of *message*: compact JSON, else text; bytes that are neither by their number."""
    try:
        text = message.data.decode()
    except UnicodeDecodeError:
        return f"({len(message.data)} bytes)"
    value = _json(text)
    if isinstance(value, dict | list):
        shown = value if raw else redact_value("", value)
        return printable(json.dumps(shown, ensure_ascii=False))
    return printable(text if raw else redact(text))


def as_dict(message: Message, *, raw: bool = False) -> dict[str, Any]:
    """*message* for programs; ``data`` is JSON where it can be read as such."""
    text = message.data.decode("utf-8", "replace")
    value = _json(text)
    data = text if value is None else value
    return {
        "subject": message.subject,
        "reply": message.reply,
        "sender": message.headers.get(SENDER_HEADER, ""),
        "trace": message.headers.get(TRACE_HEADER, ""),
        "data": data if raw else redact_value("", data),
    }


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def printable(text: str) -> str:
    """*text* without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _with_bus(wanted: Wanted, work: Callable[[Bus], Awaitable[Any]]) -> Any:
    target = find(wanted, os.environ)

    async def main() -> Any:
        from appliance.kernel.bus.nats import open_nats_bus

        url = await address(target)
        login = nats_login(settings.load(environ=os.environ, flags={}).config)
        login.check()
        async with open_nats_bus(servers(url), login=login, name=NAME) as bus:
            return await work(bus)

    return trio.run(main)


async def address(target: Target) -> str:
    """Where *target*'s bus takes NATS clients; several servers are separated by commas.

    Raises:
      NoBusListener: it takes none.
    """
    if target.endpoints is not None:
        found = target.endpoints.nats
    else:
        async with connected(target) as api:
            found = await _asked(api)
    if not found:
        raise NoBusListener(f"The bus of {target.api} takes no clients.")
    return found


async def _asked(api: Api) -> str:
    try:
        return str((await api.get("/_appliance/info"))["endpoints"]["nats"])
    except ApiError as error:
        if error.http == 404:
            return ""  # another Cloud Foundry
        raise
