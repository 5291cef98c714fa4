"""The root of every error that is reported to somebody instead of crashing."""

from __future__ import annotations

from typing import ClassVar


class ApplianceError(Exception):
    """Base of every error that is reported instead of crashing.

    ``str(error)`` is a sentence for the person who pushed the app; *hint* says what
    they can do; *code* never changes once released, so programs may match on it.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500  # HTTP
    exit_code: ClassVar[int] = 1  # 10s configuration, 20s stage, 30s store, 40s run
    hint: str = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class BadRequest(ApplianceError):
    """The request cannot be understood; the sentence names the part and the rule."""

    code, status = "bad-request", 400


class Unauthorized(ApplianceError):
    """No credentials, or wrong ones."""

    code, status = "unauthorized", 401


class NotFound(ApplianceError):
    """There is no such thing."""

    code, status = "not-found", 404


class Conflict(ApplianceError):
    """The name is taken by something different."""

    code, status = "conflict", 409


class TooLarge(ApplianceError):
    """More bytes than the limit allows."""

    code, status = "too-large", 413


class Unavailable(ApplianceError):
    """A part that is needed does not answer at the moment."""

    code, status, exit_code = "unavailable", 503, 69


class StorageFull(ApplianceError):
    """The disk has no room left; nothing was stored."""

    code, status, exit_code = "storage-full", 507, 30
    hint = "Free some space, or start with --state on another disk."


class ConfigError(ApplianceError):
    """A setting is unknown or has a value that its rule forbids."""

    code, status, exit_code = "bad-config", 500, 78

    def __init__(self, key: str, value: object, rule: str, *, hint: str = "") -> None:
        super().__init__(f"{key} = {value!r}: {rule}.", hint=hint)
        self.key = key
