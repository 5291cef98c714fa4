"""Passwords and tokens: what UAA does for a Cloud Foundry."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from fake_controller.errors import UaaError, invalid_token, not_authenticated, not_authorized
from fake_controller.jws import NotSigned, sign, verified
from fake_controller.model import Account

LEEWAY = 60  # seconds that clocks may differ
REFRESH_LIFETIME = 30 * 24 * 3600  # seconds

USER_SCOPES = (
    "openid", "uaa.user", "cloud_controller.read", "cloud_controller.write", "password.write",
)  # fmt: skip
#: What the first user's account has besides.
ADMIN_GROUPS = ("cloud_controller.admin", "scim.read", "scim.write", "uaa.admin")
READ_ALL = {"cloud_controller.admin_read_only", "cloud_controller.global_auditor"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request."""

    guid: str
    name: str
    admin: bool
    reads_all: bool = False
    reads_secrets: bool = False
    type: str = "user"  # or client
    origin: str = "uaa"
    scopes: tuple[str, ...] = ()
    token: str = ""  # the id of theirs, its jti

    def must(self, method: str) -> None:
        """Raises 403 when their token is not for requests of *method*.

        A token may be for less than its user may do; see `Tokens.for_user`.
        """
        reads = self.admin or self.reads_all or "cloud_controller.read" in self.scopes
        writes = self.admin or "cloud_controller.write" in self.scopes
        if not (reads if method == "GET" else writes):
            raise not_authorized()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refresh:
    """What a refresh token stands for."""

    user: str  # guid
    client: str
    scopes: tuple[str, ...]
    revision: str  # of the account, see `revision_of`


def digest_password(password: str) -> str:
    """*password* as ``scrypt$SALT$DIGEST``, to be kept."""
    salt = secrets.token_hex(16)
    return f"scrypt${salt}${_scrypt(password, salt)}"


def password_matches(password: str, kept: str) -> bool:
    """Whether *password* made *kept*; takes the same time when the user is unknown."""
    _, salt, digest = (kept or "scrypt$00$00").split("$")
    return hmac.compare_digest(_scrypt(password, salt).encode(), digest.encode())


def _scrypt(password: str, salt: str) -> str:
    # 4 MiB and about 10 ms: a local tool, but its state folder may be copied around.
    key = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=4096, r=8, p=1, dklen=32)
    return key.hex()


def revision_of(account: Account) -> str:
    """Changes with the password, so that refresh tokens from before it end."""
    return hashlib.sha256(account.password.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Tokens:
    """Makes and checks JWTs with the installation's own key.

    Args:
      key: What they are signed with.
      revoked: Ids of tokens that do not count any more.
    """

    key: str
    lifetime: float  # seconds
    issuer: str
    clock: Callable[[], float]  # seconds since 1970
    revoked: set[str] = field(default_factory=set)

    def for_user(
        self,
        user: Account,
        *,
        now: float,
        jti: str,
        client: str = "cf",
        wanted: Collection[str] = (),
        grant: str = "password",
    ) -> dict[str, Any]:
        """UAA's answer to a password or refresh grant, with the *wanted* scopes or all.

        Raises:
          UaaError: 400, the user has none of the scopes that are wanted.
        """
        scopes = _chosen((*USER_SCOPES, *user.groups), wanted)
        claims = {
            "jti": jti,
            "sub": user.guid,
            "user_id": user.guid,
            "user_name": user.username,
            "email": user.emails[0] if user.emails else user.username,
            "origin": user.origin,
            "client_id": client,
            "cid": client,
            "azp": client,
            "grant_type": grant,
            "scope": list(scopes),
            "aud": _audience(client, scopes),
        }
        refresh = {
            "sub": user.guid,
            "typ": "refresh",
            "jti": f"{jti}-r",
            "cid": client,
            "scope": list(scopes),
            "rev_sig": revision_of(user),
        }
        return self._answer(claims, scopes, now, jti) | {
            "refresh_token": self._sign(refresh, now, REFRESH_LIFETIME)
        }

    def for_client(
        self, client: str, authorities: Collection[str], *, now: float, jti: str
    ) -> dict[str, Any]:
        """UAA's answer to client credentials: a token without a user."""
        scopes = tuple(authorities)
        claims = {
            "jti": jti,
            "sub": client,
            "client_id": client,
            "cid": client,
            "azp": client,
            "grant_type": "client_credentials",
            "scope": list(scopes),
            "authorities": list(scopes),
            "aud": _audience(client, scopes),
        }
        return self._answer(claims, scopes, now, jti)

    def refreshed(self, token: str) -> Refresh:
        """What the refresh *token* stands for. Raises CF-InvalidAuthToken."""
        claims = self.claims(token)
        if claims.get("typ") != "refresh":
            raise invalid_token()
        return Refresh(
            user=str(claims["sub"]),
            client=str(claims.get("cid", "cf")),
            scopes=tuple(claims.get("scope", ())),
            revision=str(claims.get("rev_sig", "")),
        )

    def identity(self, authorization: str) -> Identity:
        """Who sent the Authorization header. Raises CF-NotAuthenticated, CF-InvalidAuthToken."""
        if not authorization:
            raise not_authenticated()
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise invalid_token()
        claims = self.claims(token.strip())
        if claims.get("typ") == "refresh":
            raise invalid_token()
        scopes = tuple(str(scope) for scope in claims.get("scope", ()))
        return Identity(
            guid=str(claims.get("user_id") or claims["client_id"]),
            name=str(claims.get("user_name") or claims["client_id"]),
            admin="cloud_controller.admin" in scopes,
            reads_all=not READ_ALL.isdisjoint(scopes),
            reads_secrets="cloud_controller.admin_read_only" in scopes,
            type="user" if "user_name" in claims else "client",
            origin=str(claims.get("origin", "")),
            scopes=scopes,
            token=str(claims.get("jti", "")),
        )

    def _answer(
        self, claims: dict[str, Any], scopes: tuple[str, ...], now: float, jti: str
    ) -> dict[str, Any]:
        return {
            "access_token": self._sign(claims, now, self.lifetime),
            "token_type": "bearer",
            "expires_in": int(self.lifetime) - 1,
            "scope": " ".join(scopes),
            "jti": jti,
        }

    def _sign(self, claims: dict[str, Any], now: float, lifetime: float) -> str:
        times = {"iat": int(now), "exp": int(now + lifetime), "iss": self.issuer, "zid": "uaa"}
        return sign(claims | times, self.key)

    def claims(self, token: str) -> dict[str, Any]:
        """What *token* says, which is ours, valid and not revoked. Raises CF-InvalidAuthToken."""
        try:
            claims = verified(token, self.key)
        except NotSigned as error:
            raise invalid_token() from error
        if "sub" not in claims or not self.clock() < claims.get("exp", 0) + LEEWAY:
            raise invalid_token()
        if str(claims.get("jti", "")).removesuffix("-r") in self.revoked:
            raise invalid_token()
        return claims


def _chosen(allowed: tuple[str, ...], wanted: Collection[str]) -> tuple[str, ...]:
    """Those of *allowed* that are *wanted*; all, when nothing is."""
    chosen = tuple(scope for scope in dict.fromkeys(allowed) if not wanted or scope in wanted)
    if not chosen:
        raise UaaError(
            400,
            "invalid_scope",
            f"[{', '.join(sorted(wanted))}] is invalid. This user is not allowed any of the "
            "requested scopes",
        )
    return chosen


def _audience(client: str, scopes: Collection[str]) -> list[str]:
    """Whom a token is for: the client, and the servers that its scopes are about."""
    return sorted({client, *(scope.partition(".")[0] for scope in scopes)})
