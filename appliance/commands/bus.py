"""``appliance bus``: watch the bus, and take part in it, as any NATS client could."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click
import trio

from appliance.commands.api import Api, connected
from appliance.commands.errors import ApiError, NoBusListener
from appliance.commands.screen import Screen, output
from appliance.commands.target import Target, Wanted, find
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
        async with open_nats_bus(url.split(","), name=NAME) as bus:
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
