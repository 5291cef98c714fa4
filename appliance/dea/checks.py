"""How an instance's health and readiness are found out, as its order says. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

FIRST_PAUSE = 0.020  # seconds between the first two looks
LONGEST_PAUSE = 0.500  # seconds
CONNECT_SECONDS = 1.0  # for one connection to be accepted
ANSWER_SECONDS = 5.0  # for one GET
INTERVAL = 30.0  # seconds between looks at an instance that was well


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What is asked of an instance, and how often."""

    kind: Literal["process", "port", "http"]
    timeout: float = 60.0  # seconds until it must have been met once
    endpoint: str = "/"  # http only
    patience: float = CONNECT_SECONDS  # seconds for one look
    interval: float = INTERVAL  # seconds between looks once it has been met

    @property
    def looks(self) -> bool:
        """Whether there is anything to look at, besides that the process runs."""
        return self.kind != "process"


def check_for(health_check: Mapping[str, Any] | None, port: int | None, timeout: float) -> Check:
    """The check that an order asks for. Without a port an instance is well as it is.

    *timeout* counts unless the order has one of its own. Nonsense is as good as nothing. An
    order of 2012 asks for no check: it is waited for, and then left alone.
    """
    if health_check is None:
        return Check(kind="process" if port is None else "port", timeout=timeout, interval=math.inf)
    asked = health_check
    kind = asked.get("type", "port")
    timeout = _seconds(asked.get("timeout")) or timeout
    interval = _seconds(asked.get("interval")) or INTERVAL
    patience = _seconds(asked.get("invocation_timeout"))
    if port is None or kind in ("process", "none"):
        return Check(kind="process", timeout=timeout, interval=interval)
    if kind != "http":
        patience = patience or CONNECT_SECONDS
        return Check(kind="port", timeout=timeout, interval=interval, patience=patience)
    endpoint = asked.get("endpoint")
    return Check(
        kind="http",
        timeout=timeout,
        interval=interval,
        patience=patience or ANSWER_SECONDS,
        endpoint=endpoint if isinstance(endpoint, str) and endpoint.startswith("/") else "/",
    )


def readiness_for(readiness_check: Mapping[str, Any] | None, port: int | None) -> Check:
    """The check that decides whether requests go to an instance; by default all that run."""
    return check_for(readiness_check or {"type": "process"}, port, timeout=0)


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def pauses() -> Iterator[float]:
    """Seconds between two looks: soon at first, since most apps start fast, then seldom."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, pause * 1.25)
