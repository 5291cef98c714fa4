"""How commands print: like ``cf`` for people, one JSON object for programs.

On a pipe there are plain lines; in JSON mode nothing but the result is printed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import click

GAP = "   "  # between two columns, as cf


class Screen:
    """Where one command prints to. `json` says whether a program reads it."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.live = not json and sys.stdout.isatty()  # something may be drawn and redrawn

    def say(self, text: str = "") -> None:
        """One line for people."""
        if not self.json:
            click.echo(text, color=colored())

    def warn(self, text: str) -> None:
        """One line for people on stderr: a result that is read by a program stays clean."""
        if not self.json:
            click.echo(text, err=True, color=colored(sys.stderr))

    def doing(self, text: str, /, **values: str) -> None:
        """``Doing X in org o / space s as u...`` with the values in cyan."""
        shown = {key: click.style(value, fg="cyan", bold=True) for key, value in values.items()}
        self.say(text.format(**shown))

    def ok(self) -> None:
        """``OK``, as after every change."""
        self.say(click.style("OK", fg="green", bold=True))

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table with headings in bold."""
        head, *body = table([headings, *rows])
        self.say(click.style(head, bold=True))
        for line in body:
            self.say(line)

    def facts(self, facts: Mapping[str, str]) -> None:
        """A table of ``name:`` and value."""
        for line in table([(f"{name}:", value) for name, value in facts.items()]):
            self.say(line)

    def result(self, value: Any) -> None:
        """The object for programs; people have read it already."""
        if self.json:
            click.echo(json.dumps(value, indent=2))

    def item(self, value: Any) -> None:
        """One of many objects: one line each, as they come."""
        if self.json:
            click.echo(json.dumps(value))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of *rows* one below the other. Cells may have colours."""
    columns = max((len(row) for row in rows), default=0)
    padded = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(click.unstyle(row[i])) for row in padded) for i in range(columns)]
    return [
        GAP.join(
            cell + " " * (width - len(click.unstyle(cell)))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in padded
    ]


def colored(stream: Any = None) -> bool:
    """Whether to colour what goes to *stream*: the usual variables, else whether it is a terminal.

    ``NO_COLOR`` wins over ``FORCE_COLOR``; both count when they are not empty.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return bool((stream or sys.stdout).isatty())


def size(count: float) -> str:
    """Bytes as cf shows them: ``512M``, ``1.5K``."""
    for unit in ("B", "K", "M", "G"):
        if abs(count) < 1024 or unit == "G":
            break
        count /= 1024
    return f"{count:.1f}".removesuffix(".0") + unit


def output(command: Any) -> Any:
    """Adds ``--output text|json`` to a command, which gets a `Screen` as *screen*."""

    @click.option(
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        help="json: one object for programs, and nothing else.",
    )
    @wraps(command)
    def with_screen(*args: Any, output: str, **more: Any) -> Any:
        return command(*args, screen=Screen(json=output == "json"), **more)

    return with_screen
