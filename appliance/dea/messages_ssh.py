"""How the ssh room gets into an instance: a question on the bus, then a stream. All of it is ours.

The DEA that runs the instance answers `OpenSession` with an address and a ticket. A connection to
that address carries frames (a byte for the kind, four for the length, the payload): first `WANT`
with a `Wanted`, then `INPUT` and the like from the ssh room, `OUTPUT` and the like from the DEA,
which begins with `BEGUN` or `REFUSED` and ends with `EXIT`. Who closes the connection ends it all.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct, field

# From the ssh room.
WANT = 0  # a `Wanted`
INPUT = 1  # bytes; at most `CREDIT` of them may be on their way without `TAKEN`
END = 2  # no more input; from the DEA: no more output, of a connection
SIZE = 3  # a `Size`: the terminal has another one
SIGNAL = 4  # the name of a signal, without SIG
# From the DEA.
BEGUN = 5
REFUSED = 6  # a sentence
OUTPUT = 7  # bytes
ERRORS = 8  # bytes of the standard error output
TAKEN = 9  # how many bytes of input have been passed on, in decimal
EXIT = 10  # an `Exit`

CREDIT = 256 * 1024  # bytes


class OpenSession(Struct, frozen=True, kw_only=True):
    """Ask for a way into a running instance; only the DEA that has it answers, by `SessionPlace`.

    A ticket is good for one connection, soon.
    """

    subject: ClassVar[str] = "dea.session"

    droplet: str
    index: int
    instance: str | None = None  # its id; None: whichever runs


class SessionPlace(Struct, frozen=True, kw_only=True):
    """Reply to `OpenSession`."""

    host: str
    port: int
    ticket: str
    instance: str


class Size(Struct, frozen=True, kw_only=True):
    """Of a terminal, in characters."""

    columns: int = 80
    rows: int = 24


class Wanted(Struct, frozen=True, kw_only=True):
    """What a connection is for: a command, a shell, a copying of files, or another connection."""

    ticket: str
    command: str | None = None  # for bash; None: an interactive shell
    subsystem: str = ""  # "sftp", instead of a command
    connect: tuple[str, int] | None = None  # host and port, as the instance sees them
    env: dict[str, str] = field(default_factory=dict)  # besides the instance's own
    terminal: Size | None = None


class Exit(Struct, frozen=True, kw_only=True):
    """How a command ended: by itself, or by a signal."""

    status: int = 0
    signal: str = ""  # without SIG, e.g. "TERM"
