"""The variables that an app's programs find, in one place.

Instances, tasks and builds get them from here. An app's own win over its group's.
"""

from __future__ import annotations

from fake_controller.model import App, EnvironmentGroup
from fake_controller.store import Tx


def running_variables(tx: Tx, app: App) -> dict[str, str]:
    """The variables of *app*'s instances and tasks."""
    return group(tx, "running") | app.environment


def staging_variables(tx: Tx, app: App) -> dict[str, str]:
    """The variables of *app*'s builds."""
    return group(tx, "staging") | app.environment


def group(tx: Tx, name: str) -> dict[str, str]:
    """What all apps are given while ``running`` or ``staging``."""
    record = tx.get(EnvironmentGroup, name)
    return record.variables if record else {}


def as_lines(variables: dict[str, str]) -> list[str]:
    """*variables* as the wire has them since 2012: ``NAME=value``."""
    return [f"{name}={value}" for name, value in variables.items()]
