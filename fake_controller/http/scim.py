"""What UAA's routes share: who asks, bodies, and pages of SCIM."""

from __future__ import annotations

from typing import TypeVar

from quart import request

from fake_controller.errors import CloudError, UaaError
from fake_controller.http.api import Api
from fake_controller.tokens import Identity

T = TypeVar("T")
PER_PAGE = 100  # and the most


def identity_of(api: Api) -> Identity:
    """Who asks; refusals are in UAA's form."""
    try:
        return api.identity()
    except CloudError as error:
        if not request.headers.get("Authorization"):
            why = "Full authentication is required to access this resource"
            raise UaaError(401, "unauthorized", why) from error
        raise UaaError(401, "invalid_token", "The token is invalid or expired.") from error


def may(api: Api, scope: str) -> None:
    """Raises UAA's 403 unless the asker has *scope*."""
    if not {scope, "uaa.admin"} & set(identity_of(api).scopes):
        raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")


async def scim_body(api: Api, kind: type[T]) -> T:
    """The request's JSON as a *kind*; refusals are in UAA's form."""
    try:
        return await api.body(kind)
    except CloudError as error:
        raise UaaError(400, "invalid_scim_resource", str(error)) from error


def page_asked() -> tuple[int, int]:
    """The first entry that is wanted, counted from 1, and how many."""
    return _number("startIndex", 1), min(_number("count", PER_PAGE), PER_PAGE)


def _number(key: str, default: int) -> int:
    text = request.args.get(key, str(default))
    if not text.isascii() or not text.isdigit():
        raise UaaError(400, "scim", f"{key} must be a whole number")
    return int(text[:12])
