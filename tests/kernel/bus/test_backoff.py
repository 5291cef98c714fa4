"""Which server is tried next, and after how long."""

from __future__ import annotations

from appliance.kernel.bus.backoff import RETRY_FIRST, RETRY_MOST, next_try


def test_each_server_is_tried_at_once_before_anybody_waits() -> None:
    """The first one that has not failed yet."""
    assert next_try([0, 0, 0], luck=1) == (0, 0.0)
    assert next_try([1, 0, 0], luck=1) == (1, 0.0)
    assert next_try([5, 5, 0], luck=1) == (2, 0.0)


def test_waits_double_up_to_a_bound() -> None:
    """For days, if need be."""
    waits = [next_try([tries], luck=1)[1] for tries in range(1, 10)]
    assert waits[:5] == [RETRY_FIRST * 2**power for power in range(5)]
    assert waits[-1] == RETRY_MOST
    assert next_try([10**6], luck=1)[1] == RETRY_MOST


def test_all_wait_as_long_as_the_one_that_failed_least() -> None:
    """And that one is next."""
    assert next_try([3, 2, 3], luck=1) == (1, RETRY_FIRST * 2)


def test_luck_spreads_the_waits() -> None:
    """Over their upper half."""
    assert next_try([4], luck=0)[1] == next_try([4], luck=1)[1] / 2
