"""What a client says of itself in CONNECT, and whether it may come in. Pure."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, fields, replace
from typing import Any

from appliance.kernel.bus.listener.options import PROTOCOL, Options
from appliance.kernel.bus.listener.parser import UNAUTHORIZED, ProtocolError

MAX_LABEL = 120  # characters of a client's name and language that are kept


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientOptions:
    """The fields of CONNECT that we know; the defaults hold for who has sent none.

    They are nats-server's: somebody with ``telnet`` sees an answer to every line.
    """

    verbose: bool = True  # answer every command with +OK
    pedantic: bool = True  # check what is published, too
    echo: bool = True  # hear one's own messages
    headers: bool = False  # HPUB and HMSG
    no_responders: bool = False  # be told when nobody listens
    protocol: int = 0
    user: str = ""
    password: str = ""
    token: str = ""
    account: str = ""
    name: str = ""
    lang: str = ""
    version: str = ""


_FIELDS = {"pass": "password", "auth_token": "token"} | {
    field.name: field.name
    for field in fields(ClientOptions)
    if field.name not in ("password", "token")
}


def read_connect(text: bytes, known: ClientOptions) -> ClientOptions:
    """*known*, changed by the JSON of a CONNECT; a second one need not repeat the first.

    Raises:
      ProtocolError: not a JSON object, or a field of the wrong kind.
    """
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("CONNECT without JSON.") from None
    if said is None:
        return known
    if not isinstance(said, dict):
        raise ProtocolError("CONNECT with JSON that is no object.")
    changed: dict[str, Any] = {}
    for key, value in said.items():
        field = _FIELDS.get(key)
        if field is None or value is None:
            continue
        if type(value) is not type(getattr(known, field)):
            raise ProtocolError(f"CONNECT has a {key} of the wrong kind.")
        changed[field] = value
    for field in ("name", "lang", "version"):
        if field in changed:
            changed[field] = changed[field].encode("utf-8", "replace").decode()[:MAX_LABEL]
    return replace(known, **changed)


def check_connect(client: ClientOptions, options: Options) -> None:
    """Refuse who may not come in, or wants what we do not speak.

    Raises:
      ProtocolError: with the answer for the client.
    """
    if not _authorized(client, options) or client.account:
        raise ProtocolError("Wrong login.", UNAUTHORIZED)
    if not 0 <= client.protocol <= PROTOCOL:
        raise ProtocolError("A protocol of the future.", "invalid client protocol")
    if client.no_responders and not client.headers:
        raise ProtocolError(
            "no_responders without headers.", "no responders requires headers support"
        )


def _authorized(client: ClientOptions, options: Options) -> bool:
    if not options.auth_required:
        return True
    if options.token and _same(client.token, options.token):
        return True
    # Both are compared in any case, so that the time taken does not tell which was wrong.
    user, password = _same(client.user, options.user), _same(client.password, options.password)
    return bool(options.user) and user and password


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass")
    )
