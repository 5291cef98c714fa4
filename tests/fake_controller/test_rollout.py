"""How far a deployment goes at each step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_controller.rollout import Stage, canary_stages, next_step


@pytest.mark.parametrize(
    ("original", "weights", "stages"),
    [
        (4, [], [(1, 4)]),
        (10, [20, 50], [(2, 9), (5, 6)]),
        (1, [10], [(1, 1)]),
        (4, [50, 100], [(2, 3), (4, 0)]),
        (0, [50], [(1, 0)]),
    ],
)
def test_a_canary_pauses_at_its_weights(
    original: int, weights: list[int], stages: list[tuple[int, int]]
) -> None:
    """One new instance at least, and the old ones keep one to spare until the new are all there."""
    assert [(stage.new, stage.old) for stage in canary_stages(original, weights)] == stages


@given(
    original=st.integers(0, 20),
    goal=st.integers(0, 20),
    in_flight=st.integers(1, 25),
    starts=st.lists(st.integers(1, 5), min_size=25, max_size=25),
)
def test_there_is_never_less_than_before(
    original: int, goal: int, in_flight: int, starts: list[int]
) -> None:
    """However many start at a time: old and running new together reach the smaller of both goals,
    no more than what may be in flight is on its way, and it comes to its end."""
    new, old, running = 0, original, 0
    for started in starts:
        step = next_step(
            Stage(new=goal, old=0),
            original=original,
            running=running,
            new=new,
            old=old,
            in_flight=in_flight,
        )
        new, old = step.new, step.old
        assert step.reached or old + running >= original
        assert step.reached or new - running <= in_flight
        if step.reached:
            break
        running = min(new, running + started)
    assert (new, old) == (goal, 0)
