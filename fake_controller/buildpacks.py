"""Which buildpacks and stacks there are, in which order, and which of them build an app."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from appliance.stager.messages import BUILT_IN_BUILDPACKS
from fake_controller.conditions import is_
from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import Buildpack, Setting, Stack
from fake_controller.store import Tx

DEFAULT_STACK = "appliance"
BUILT_IN_FILE = "built in"  # in the place of a file name
LONGEST = 4096  # characters of a name or URL in an app's list

#: What every installation has from its first start; what an admin deletes of it stays deleted.
_STACKS = {
    DEFAULT_STACK: "Programs and libraries of the machine that the appliance runs on",
    "cflinuxfs4": "The same machine by Cloud Foundry's usual name, for manifests that ask for it",
}
_SEEDED = "seeded-buildpacks"


def seed_buildpacks(tx: Tx) -> None:
    """Make the stacks, and a record for each buildpack that stagers have of their own."""
    known = tx.get(Setting, _SEEDED)
    seeded = set(known.value.split()) if known else set()
    for name, description in _STACKS.items():
        if name not in seeded and tx.first(Stack, name=name) is None:
            tx.new(Stack, name=name, description=description, default=name == DEFAULT_STACK)
    for name in BUILT_IN_BUILDPACKS:
        if name not in seeded and tx.first(Buildpack, name=name) is None:
            last = tx.count(Buildpack)
            tx.new(Buildpack, name=name, position=last + 1, filename=BUILT_IN_FILE, built_in=name)
    all_seeded = " ".join(sorted(seeded | {*_STACKS, *BUILT_IN_BUILDPACKS}))
    if known is None:
        tx.new(Setting, guid=_SEEDED, value=all_seeded)
    else:
        tx.change(known, value=all_seeded)


def move(tx: Tx, record: Buildpack, position: int) -> Buildpack:
    """Put *record* at *position*, at most the last; the others make room and close the gap."""
    order = [one for one in tx.find(Buildpack, order_by="position") if one.guid != record.guid]
    order.insert(min(position, len(order) + 1) - 1, record)
    _number(tx, order)
    return tx.need(Buildpack, record.guid)


def close_gaps(tx: Tx) -> None:
    """Number the buildpacks anew after one is gone."""
    _number(tx, tx.find(Buildpack, order_by="position"))


def check_unique(tx: Tx, name: str, stack: str | None, but: str = "") -> None:
    """One name may be there once for each stack, and once for any; *but* is the guid it has."""
    same = tx.find(Buildpack, is_("stack", stack), name=name)
    if any(one.guid != but for one in same):
        raise unprocessable(taken(name, stack))


def taken(name: str, stack: str | None) -> str:
    """Cloud Controller's sentence that a buildpack is there already."""
    if stack is None:
        return f"Buildpack with name '{name}' and an unassigned stack already exists"
    return f"Buildpack with name '{name}', stack '{stack}' and lifecycle 'buildpack' already exists"


def check_lifecycle(tx: Tx, buildpacks: Sequence[str], stack: str) -> None:
    """The buildpacks and the stack that are asked for must be such that an app can have them.

    Raises:
      CloudError: 422 with what is wrong.
    """
    if any(not name.strip() or len(name) > LONGEST for name in buildpacks):
        raise unprocessable("Buildpacks entries must be between 1 and 4096 characters")
    if tx.first(Stack, name=stack) is None:
        raise unprocessable(f"Stack must be an existing stack: there is no '{stack}'.")
    for name in buildpacks:
        if not is_url(name) and _offered(tx, name, stack) is None:
            raise unprocessable(
                "Buildpack must be an existing admin buildpack or a valid git URI: "
                f'"{name}" for stack "{stack}" is neither.'
            )


def check_can_build(tx: Tx, buildpacks: Sequence[str], stack: str, *, first: bool) -> None:
    """What an app has asked for must be there and enabled when it is built.

    Args:
      first: It is the app's first build, for which stacks can be closed.

    Raises:
      CloudError: none can be used, one is disabled, or the stack is closed.
    """
    check_lifecycle(tx, buildpacks, stack)
    offered = [_offered(tx, name, stack) for name in buildpacks]
    if off := [f"'{one.name}'" for one in offered if one and not one.enabled]:
        raise CloudError(
            400, 290003, "CF-BuildpackInvalid",
            f"Buildpack is invalid: Requested buildpack(s) {', '.join(off)} are disabled and "
            "cannot be used for staging",
        )  # fmt: skip
    if not taking_part(tx, buildpacks, stack):
        raise CloudError(400, 170006, "CF-NoBuildpacksFound", "There are no buildpacks available")
    record = tx.first(Stack, name=stack)
    closed = ("DISABLED", "RESTRICTED") if first else ("DISABLED",)
    if record and record.state in closed:
        reason = f" {record.state_reason}" if record.state_reason else ""
        raise CloudError(
            422, 250004, "CF-StackValidationFailed",
            f"ERROR: Staging failed. The stack '{stack}' is '{record.state}' and cannot be used "
            f"for staging.{reason}",
        )  # fmt: skip


def taking_part(tx: Tx, buildpacks: Sequence[str], stack: str) -> list[Buildpack | str]:
    """Those that are asked for, URLs as they are; without a wish all that may be tried."""
    if buildpacks:
        wanted = [name if is_url(name) else _offered(tx, name, stack) for name in buildpacks]
        return [one for one in wanted if one is not None]
    tried = tx.find(Buildpack, order_by="position", enabled=True)
    return [one for one in tried if one.filename and one.stack in (None, stack)]


def is_url(name: str) -> bool:
    """Whether *name* can only be an address; stagers fetch these, and clone from them."""
    try:
        parts = urlsplit(name)
    except ValueError:
        return False
    return parts.scheme in ("http", "https", "git") and bool(parts.hostname)


def _offered(tx: Tx, name: str, stack: str) -> Buildpack | None:
    """The buildpack *name* that has its bits: for *stack*, else for any."""
    found = [one for one in tx.find(Buildpack, name=name) if one.filename]
    exact = next((one for one in found if one.stack == stack), None)
    return exact or next((one for one in found if one.stack is None), None)


def _number(tx: Tx, order: Iterable[Buildpack]) -> None:
    for number, one in enumerate(order, 1):
        if one.position != number:
            # The others have not been updated, they have only been moved.
            tx.change(one, position=number, updated_at=one.updated_at)
