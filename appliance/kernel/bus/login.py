"""How this process logs in to NATS servers, and how it knows them: passwords, keys, TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.kernel.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class NatsLogin:
    """One kind of login at most; what the address of a server says comes last."""

    user: str = ""
    password: str = ""
    token: str = ""
    nkey: Path | None = None  # file with a seed
    creds: Path | None = None  # file with a JWT and a seed
    ca: Path | None = None  # file with the certificates that servers are trusted by
    cert: Path | None = None  # our own certificate, for servers that want one
    key: Path | None = None  # of that certificate
    tls_name: str = ""  # what a server's certificate must name; "" for its host

    def with_urls(self, urls: Sequence[str]) -> NatsLogin:
        """The same with the login of *urls*, if it is one and there is no other.

        A cluster tells of servers that are not in the list; they want the same login.
        """
        if self.user or self.token or self.nkey or self.creds:
            return self
        logins = {(parts.username, parts.password) for parts in map(urlsplit, urls)}
        if len(logins) != 1:
            return self
        user, password = logins.pop()
        if user is None:
            return self
        if password is None:
            return replace(self, token=unquote(user))
        return replace(self, user=unquote(user), password=unquote(password))

    def check(self) -> None:
        """Refuse files that cannot be used, before anything depends on them.

        Raises:
          ConfigError: two kinds of login at once, or a file that cannot be used.
        """
        kinds = {"user": self.user, "token": self.token, "nkey": self.nkey, "creds": self.creds}
        if len(given := [name for name, value in kinds.items() if value]) > 1:
            rule = f"one kind of login is enough, and there are {' and '.join(given)}"
            raise ConfigError(f"nats_client.{given[1]}", "…", rule)
        if self.password and not self.user:
            raise ConfigError("nats_client.password", "…", "needs nats_client.user")
        if self.key and not self.cert:
            raise ConfigError("nats_client.key", str(self.key), "needs nats_client.cert")
        if self.nkey:
            _check_seed("nats_client.nkey", self.nkey, _read("nats_client.nkey", self.nkey))
        if self.creds:
            _check_creds(self.creds, _read("nats_client.creds", self.creds))
        self.ssl_context()

    def ssl_context(self) -> ssl.SSLContext:
        """What TLS connections are made with.

        Raises:
          ConfigError: a file is not what it should be.
        """
        for name in ("ca", "cert", "key"):
            if path := getattr(self, name):
                _read(f"nats_client.{name}", path)
        try:
            context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        except ssl.SSLError as error:
            rule = "is not a file with certificates"
            raise ConfigError("nats_client.ca", str(self.ca), rule) from error
        if self.cert:
            try:
                context.load_cert_chain(self.cert, self.key, password=_no_password)
            except (ssl.SSLError, _Encrypted) as error:
                rule = "must be a certificate and its key, without a password"
                raise ConfigError("nats_client.cert", str(self.cert), rule) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class _Encrypted(ValueError):
    pass


def _no_password() -> str:
    # OpenSSL would ask at the terminal.
    raise _Encrypted


def _read(key: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(key, str(path), f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(key, str(path), "is not text") from error


def _check_seed(key: str, path: Path, seed: str) -> None:
    import nkeys

    try:
        nkeys.from_seed(bytearray(seed.strip().encode())).wipe()
    except (nkeys.NkeysError, ValueError, TypeError) as error:
        raise ConfigError(key, str(path), "has no seed of an nkey") from error


def _check_creds(path: Path, text: str) -> None:
    lines = text.splitlines()

    def after(heading: str) -> str:
        found = next((number for number, line in enumerate(lines) if heading in line), None)
        return lines[found + 1].strip() if found is not None and found + 1 < len(lines) else ""

    if not after("BEGIN NATS USER JWT"):
        raise ConfigError("nats_client.creds", str(path), "has no user JWT")
    _check_seed("nats_client.creds", path, after("BEGIN USER NKEY SEED"))
