"""Revisions: what an app was at each start, and why the next one is another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fake_controller.errors import unprocessable
from fake_controller.features import OF_APPS, enabled
from fake_controller.model import App, Droplet, Process, Revision
from fake_controller.store import Tx

KEPT = 100  # revisions of one app; older ones are forgotten, as Cloud Controller does


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What tells one revision from another."""

    droplet_guid: str
    environment: Mapping[str, str]
    commands: Mapping[str, str | None]


def reasons(latest: Version, wanted: Version) -> list[str]:
    """What is different, as sentences in their usual order; nothing when they are the same."""
    found = []
    if latest.droplet_guid != wanted.droplet_guid:
        found.append("New droplet deployed.")
    if latest.environment != wanted.environment:
        found.append("New environment variables deployed.")
    for type_ in sorted({*latest.commands, *wanted.commands}):
        if type_ not in latest.commands:
            found.append(f"New process type '{type_}' added.")
        elif type_ not in wanted.commands:
            found.append(f"Process type '{type_}' removed.")
        elif latest.commands[type_] != wanted.commands[type_]:
            before, after = latest.commands[type_], wanted.commands[type_]
            verb = "added" if before is None else "removed" if after is None else "updated"
            found.append(f"Custom start command {verb} for '{type_}' process.")
    return sorted(found)


def current_version(tx: Tx, app: App, droplet: Droplet) -> Version:
    """What *app* would be if it started now with *droplet*."""
    newest = {p.type: p.command for p in tx.find(Process, app_guid=app.guid)}
    return Version(
        droplet_guid=droplet.guid,
        environment=app.environment,
        commands={type_: newest.get(type_) for type_ in droplet.process_types},
    )


def version_of(revision: Revision) -> Version:
    """What *revision* was."""
    return Version(
        droplet_guid=revision.droplet_guid,
        environment=revision.environment,
        commands=revision.commands,
    )


def revise(tx: Tx, app: App, droplet: Droplet | None) -> Revision | None:
    """The revision of *app* as it starts now: a new one if anything is different.

    None when the app keeps no revisions, or has nothing to start.
    """
    if droplet is None or not enabled(OF_APPS, app.features, "revisions"):
        return None
    wanted = current_version(tx, app, droplet)
    latest = tx.latest(Revision, app_guid=app.guid)
    if latest is None:
        return _add(tx, app, wanted, 1, "Initial revision.")
    if why := reasons(version_of(latest), wanted):
        return _add(tx, app, wanted, latest.version + 1, " ".join(why))
    return latest


def roll_back(tx: Tx, app: App, target: Revision) -> Revision | None:
    """The revision that going back to *target* makes.

    Raises:
      CloudError: 422, nothing is different, or the droplet is gone.
    """
    droplet = tx.get(Droplet, target.droplet_guid)
    if droplet is None or droplet.state != "STAGED":
        raise unprocessable("Invalid revision. Please ensure the droplet is available.")
    if not enabled(OF_APPS, app.features, "revisions"):
        return None
    latest = tx.latest(Revision, app_guid=app.guid)
    why = reasons(version_of(latest), version_of(target)) if latest else []
    if not why or latest is None:
        raise unprocessable(
            "Unable to rollback. The code and configuration you are rolling back to is the same "
            "as the deployed revision."
        )
    text = " ".join(sorted([*why, f"Rolled back to revision {target.version}."]))
    return _add(tx, app, version_of(target), latest.version + 1, text)


def _add(tx: Tx, app: App, version: Version, number: int, description: str) -> Revision:
    if tx.count(Revision, app_guid=app.guid) >= KEPT:
        [oldest] = tx.find(Revision, app_guid=app.guid, limit=1)
        tx.delete(oldest)
    return tx.new(
        Revision,
        app_guid=app.guid,
        version=number,
        droplet_guid=version.droplet_guid,
        environment=dict(version.environment),
        commands=dict(version.commands),
        description=description,
    )
