"""How a deployment moves: how many of the new and of the old should run now. Pure.

Two web processes share the app's instances. The new one grows by what may be in flight
beyond what already runs; the old one shrinks by what runs, so that there is never less than
before. A canary stops at each of its steps until somebody lets it go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stretch of a deployment leads to."""

    new: int  # instances of the new process at its end
    old: int  # instances of the old process that stay until the next one


@dataclass(frozen=True, slots=True)
class Step:
    """What should be wanted of both processes now."""

    new: int
    old: int
    reached: bool  # the stage's end


def canary_stages(original: int, weights: Sequence[int]) -> list[Stage]:
    """The stages at which a canary pauses; *weights* are percents of *original* instances.

    Without weights there is one, of one instance beside all the old ones. Rounding follows
    Cloud Controller: never less than one new instance, and the old ones keep one to spare
    until the new ones are all there.
    """
    if not weights:
        return [Stage(new=1, old=original)]
    stages = []
    for weight in weights:
        new = max(1, int(original * weight / 100 + 0.5))
        stages.append(Stage(new=new, old=0 if weight == 100 else max(0, original - new + 1)))
    return stages


def next_step(
    stage: Stage, *, original: int, running: int, new: int, old: int, in_flight: int
) -> Step:
    """Where to go from here.

    Args:
      stage: What this stretch leads to.
      original: Instances of the old process before the deployment.
      running: Instances of the new process that run and take requests.
      new: Instances of the new process that are wanted so far.
      old: Instances of the old process that are wanted so far.
      in_flight: How many new ones may be on their way at once.
    """
    if running >= stage.new:
        return Step(new=max(new, stage.new), old=min(old, stage.old), reached=True)
    grown = min(stage.new, running + in_flight)
    shrunk = max(stage.old, original - running)
    return Step(new=max(new, grown), old=min(old, shrunk), reached=False)
