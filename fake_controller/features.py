"""What can be switched on and off for one app or one space. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """One switch: what it does, and how it stands until somebody moves it."""

    description: str
    default: bool


OF_APPS: Mapping[str, Feature] = {
    "ssh": Feature("Enable SSHing into the app.", True),
    "revisions": Feature("Enable versioning of an application", True),
}
OF_SPACES: Mapping[str, Feature] = {
    "ssh": Feature("Enable SSHing into apps in the space.", True),
}


def enabled(table: Mapping[str, Feature], switched: Mapping[str, bool], name: str) -> bool:
    """Whether feature *name* of *table* is on; *switched* are those that were moved."""
    return switched.get(name, table[name].default)
