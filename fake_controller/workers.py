"""Those who do what the API promises, each in the background of one controller."""

from __future__ import annotations

from dataclasses import dataclass

from fake_controller.deploying import Deployer
from fake_controller.running import Runner
from fake_controller.tasks import Tasks


@dataclass(frozen=True, kw_only=True)
class Workers:
    """One of each kind."""

    runner: Runner  # brings processes to what is desired of them
    deployer: Deployer  # replaces a process by another without a gap
    tasks: Tasks  # runs commands once
