"""What can be switched on and off for one app or one space. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """One switch: what it does, and how it stands until somebody moves it."""

    description: str
    default: bool


SERVICE_FOLDERS = "service-binding-k8s"
SERVICE_FILE = "file-based-vcap-services"

OF_APPS: Mapping[str, Feature] = {
    "ssh": Feature("Enable SSHing into the app.", True),
    "revisions": Feature("Enable versioning of an application", True),
    SERVICE_FOLDERS: Feature("Enable k8s service bindings for the app", False),
    SERVICE_FILE: Feature("Enable file-based VCAP service bindings for the app", False),
}
OF_SPACES: Mapping[str, Feature] = {
    "ssh": Feature("Enable SSHing into apps in the space.", True),
}


def enabled(table: Mapping[str, Feature], switched: Mapping[str, bool], name: str) -> bool:
    """Whether feature *name* of *table* is on; *switched* are those that were moved."""
    return switched.get(name, table[name].default)


def services_as(switched: Mapping[str, bool]) -> str:
    """How an app is told of its services, as start orders say it."""
    if enabled(OF_APPS, switched, SERVICE_FOLDERS):
        return "folders"
    return "file" if enabled(OF_APPS, switched, SERVICE_FILE) else "variable"


def exclude_each_other(switched: Mapping[str, bool]) -> str:
    """What is wrong with an app's features together, or nothing."""
    if switched.get(SERVICE_FOLDERS) and switched.get(SERVICE_FILE):
        return (
            f"'{SERVICE_FILE}' and '{SERVICE_FOLDERS}' features cannot be enabled at the same time."
        )
    return ""
