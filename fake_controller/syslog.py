"""Log lines as syslog messages, and where they are to be sent. Pure.

Source: RFC 5424 (the message), RFC 6587 3.4.1 (its length before it, over TCP); what stands
in which field is Cloud Foundry's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from appliance.logs.messages import Line

OUT, ERR = 14, 11  # facility user; informational, and error
TAGS = "tags@47450"  # the name of the structured data
PORTS = {"syslog": 514, "syslog-tls": 6514, "https": 443}
_UNFIT = re.compile(r"[^A-Za-z0-9.-]")
_ESCAPED = re.compile(r'(["\\\]])')


class BadDrain(Exception):
    """A URL that no lines can be sent to; the text is a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """Where the lines of one app go."""

    app_guid: str
    url: str
    hostname: str  # ORGANIZATION.SPACE.APP

    def target(self) -> tuple[str, str, int]:
        """Scheme, host and port.

        Raises:
          BadDrain: it is something else.
        """
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise BadDrain("The syslog drain's URL cannot be read.") from None
        if parts.scheme not in PORTS or not parts.hostname:
            schemes = ", ".join(f"{scheme}://" for scheme in PORTS)
            raise BadDrain(f"A syslog drain's URL begins with {schemes} and a host.")
        return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


def hostname(organization: str, space: str, app: str) -> str:
    """What messages say they come from: names with nothing in them that is no part of one."""
    parts = (_UNFIT.sub("", part.strip().replace(" ", "-")) for part in (organization, space, app))
    return ".".join(parts)[:255] or "-"


def message(line: Line, drain: Drain) -> bytes:
    """*line* as one message, which ends with a newline."""
    process = f"[{line.source_type.upper().replace(' ', '-')}/{line.instance}]"[:128]
    text = line.text.replace("\0", "").rstrip("\n")
    level, when = ERR if line.error else OUT, _when(line.timestamp)
    head = f"<{level}>1 {when} {drain.hostname} {drain.app_guid} {process} - {_structured(line)} "
    return head.encode() + text.encode("utf-8", "replace") + b"\n"


def _when(timestamp: int) -> str:
    try:
        at = datetime.fromtimestamp(timestamp // 10**9, UTC)
    except (OverflowError, OSError, ValueError):
        return "-"  # whoever sent the line has no clock
    return f"{at:%Y-%m-%dT%H:%M:%S}.{timestamp % 10**9 // 1000:06d}+00:00"


def _structured(line: Line) -> str:
    tags = {"source_type": line.source_type, "instance_id": line.instance} | line.tags
    pairs = "".join(
        f' {_UNFIT.sub("_", name)}="{_escaped(value)}"' for name, value in sorted(tags.items())
    )
    return f"[{TAGS}{pairs}]"


def _escaped(value: str) -> str:
    return _ESCAPED.sub(r"\\\1", value)


def framed(sent: bytes) -> bytes:
    """*sent* with its length before it."""
    return b"%d %s" % (len(sent), sent)
