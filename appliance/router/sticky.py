"""Sticky sessions: who has a JSESSIONID comes back to the instance that gave it."""

from __future__ import annotations

from appliance.router.answer import Answer
from appliance.router.head import Request

SESSION = b"JSESSIONID"
INSTANCE = b"__VCAP_ID__"
_COPIED = (b"max-age", b"expires", b"secure", b"samesite", b"partitioned")


def wanted_instance(request: Request) -> str:
    """The instance that the request's cookies ask for; "" for any."""
    cookies = dict(
        pair.strip().partition(b"=")[::2] for pair in request.field(b"cookie").split(b";")
    )
    return cookies.get(INSTANCE, b"").decode("latin-1") if SESSION in cookies else ""


def session_cookie(answer: Answer, instance: str) -> bytes | None:
    """The field that binds the session which *answer* begins to *instance*; None for none."""
    for line in answer.lines:
        name, _, value = line.partition(b":")
        cookie, *attributes = (part.strip() for part in value.split(b";"))
        if name.lower() != b"set-cookie" or cookie.partition(b"=")[0] != SESSION:
            continue
        kept = [a for a in attributes if a.partition(b"=")[0].strip().lower() in _COPIED]
        bound = INSTANCE + b"=" + instance.encode()
        return b"Set-Cookie: " + b"; ".join([bound, b"Path=/", b"HttpOnly", *kept])
    return None
