"""What can go wrong in the package cache. Pure. The wording of 2012 is kept where there was one."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.kernel.errors import ApplianceError, BadRequest, NotFound, Unavailable


class BadName(BadRequest):
    """A package name that cannot be taken apart."""

    code = "bad-package-name"

    def __init__(self, name: str, form: str) -> None:
        super().__init__(f"invalid package name {name!r}: it must be {form}")


class BadChoice(BadRequest):
    """A location, package type or runtime that there is not."""

    code = "bad-choice"

    def __init__(self, what: str, given: str, known: Iterable[str], *, hint: str = "") -> None:
        super().__init__(f"invalid {what} {given} (there is {', '.join(known)})", hint=hint)


class RuntimeGone(BadChoice):
    """A runtime that is configured, but was not found on this machine at start."""

    code = "runtime-missing"

    def __init__(self, runtime: str, executable: str, known: Iterable[str]) -> None:
        super().__init__(
            "runtime",
            runtime,
            known,
            hint=f"Install {executable} for the system and start the package cache again.",
        )


class NotInInbox(NotFound):
    """The file that was to be imported is not in the public inbox."""

    code = "not-in-inbox"

    def __init__(self, name: str) -> None:
        super().__init__(f"no file {name} in public inbox")


class BadInboxFile(BadRequest):
    """A file in the inbox that is not taken: a link, too large, or with another digest."""

    code = "bad-inbox-file"


class BadRequirement(BadRequest):
    """A line of requirements that this cache does not resolve."""

    code = "bad-requirement"

    def __init__(self, number: int, line: str, rule: str) -> None:
        super().__init__(
            f"requirements.txt line {number}, {line!r}: {rule}.",
            hint="Push such packages as wheels with the app, in vendor/.",
        )


class Unresolvable(ApplianceError):
    """No set of versions satisfies the requirements."""

    code, status, exit_code = "unresolvable-requirements", 422, 24
    hint = "Check names and versions in requirements.txt; builds take wheels for this Python."


class UpstreamUnreachable(Unavailable):
    """The index does not answer (or may not be asked), and nothing is remembered."""

    code, exit_code = "index-unreachable", 24
    hint = (
        "Stage the app once while the index can be reached, which fills the package cache; or "
        "push wheels with it: `pip wheel -r requirements.txt -w vendor`."
    )


class BuildFailed(ApplianceError):
    """A package could not be built; the sentence has the tool's last words."""

    code, status, exit_code = "package-build-failed", 422, 24


class CacheBusy(Unavailable):
    """So many packages are being built that this one was not begun."""

    code = "package-cache-busy"
    hint = "Try again in a moment."

    def __init__(self) -> None:
        super().__init__("too many builds are outstanding")
