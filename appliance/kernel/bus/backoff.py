"""Which of several servers is tried next, and after how long. Pure."""

from __future__ import annotations

from collections.abc import Sequence

RETRY_FIRST = 0.1  # seconds before a server is tried a second time; doubled each time
RETRY_MOST = 2.0  # seconds; an outage of hours is over for us that soon after its end


def next_try(tries: Sequence[int], luck: float) -> tuple[int, float]:
    """The place of the server that comes next, and the seconds to wait before.

    Each server is tried once without waiting; the more often all of them have failed, the
    longer is the wait.

    Args:
      tries: How often each server has failed since it was last reached; at least one server.
      luck: From 0 to 1; spreads the waits over their upper half, so that clients which were
        cut off together do not come back together.
    """
    least = min(tries)
    if least == 0:
        return tries.index(0), 0.0
    longest = min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(least - 1, 16))
    return tries.index(least), longest * (0.5 + 0.5 * luck)
