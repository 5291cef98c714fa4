"""Every way to log in to a real nats-server, and TLS: from our bus, and from nats-py to ours."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys
import pytest
import trio

from appliance.kernel.bus import BusClosed
from appliance.kernel.bus.listener.options import Options
from appliance.kernel.bus.listener.secure import server_context
from appliance.kernel.bus.listener.server import Listener, open_listener
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.login import NatsLogin
from appliance.kernel.bus.nats import open_nats_bus
from appliance.kernel.errors import ConfigError
from tests.certificates import Certificates, make_certificates
from tests.contract.wire_clients import PATIENCE, eventually
from tests.nats_server import NatsServer

NATS = "nats://127.0.0.1"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once: it takes a moment."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def restarted(server: NatsServer, config: str) -> str:
    """The address of *server* after a start with *config*."""
    server.kill()
    server.config = config
    server.start()
    return f"127.0.0.1:{server.port}"


async def works(url: str, login: NatsLogin | None = None) -> None:
    """A message makes its way, in a connection of its own."""
    async with open_nats_bus([url], login=login, timeout=5) as bus, bus.subscribe("a") as inbox:
        bus.publish("a", b"hi")
        with trio.fail_after(PATIENCE):
            assert (await inbox.receive()).data == b"hi"


async def refused(url: str, why: str, login: NatsLogin | None = None) -> None:
    """Nobody is let in; the sentence says why."""
    with trio.fail_after(PATIENCE), pytest.raises(BusClosed, match=why):
        async with open_nats_bus([url], login=login, timeout=0.5):
            pass


# Logins.


async def test_by_password(nats_server: NatsServer) -> None:
    """From the address or from the settings; any characters may be in it."""
    at = restarted(nats_server, 'authorization { user: "me@x", password: "p:/w" }')

    await works(f"nats://{at}", NatsLogin(user="me@x", password="p:/w"))
    await works(f"nats://me%40x:p%3A%2Fw@{at}")
    await refused(f"nats://{at}", "Authorization Violation")


async def test_by_token(nats_server: NatsServer) -> None:
    """From the address or from the settings."""
    at = restarted(nats_server, "authorization { token: letmein }")

    await works(f"nats://{at}", NatsLogin(token="letmein"))
    await works(f"nats://letmein@{at}")
    await refused(f"nats://{at}", "Authorization Violation", NatsLogin(token="wrong"))


def seed(kind: int) -> bytes:
    """A new nkey's."""
    made: bytes = nkeys.encode_seed(os.urandom(32), kind)
    return made


def public(secret: bytes) -> str:
    """The name that others know it by."""
    name: bytes = nkeys.from_seed(bytearray(secret)).public_key
    return name.decode()


async def test_by_nkey(nats_server: NatsServer, tmp_path: Path) -> None:
    """The seed stays here; what the server sent is signed with it."""
    own, other = seed(nkeys.PREFIX_BYTE_USER), seed(nkeys.PREFIX_BYTE_USER)
    at = restarted(nats_server, f"authorization {{ users = [ {{ nkey: {public(own)} }} ] }}")
    files = {}
    for name, secret in (("own", own), ("other", other)):
        files[name] = tmp_path / name
        files[name].write_bytes(secret + b"\n")

    await works(f"nats://{at}", NatsLogin(nkey=files["own"]))
    await refused(f"nats://{at}", "Authorization Violation", NatsLogin(nkey=files["other"]))


def signed(claims: dict[str, Any], by: bytes) -> str:
    """A JWT as NATS has them."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {"iat": 1_700_000_000, "iss": public(by), **claims}
    digest = hashlib.sha256(json.dumps(claims).encode()).digest()
    claims["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    head = part(b'{"typ":"JWT","alg":"ed25519-nkey"}')
    body = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{body}.{part(nkeys.from_seed(bytearray(by)).sign(body.encode()))}"


async def test_by_creds(nats_server: NatsServer, tmp_path: Path) -> None:
    """A file with a JWT and a seed, as ``nsc`` writes them."""
    operator, account, user = (
        seed(kind)
        for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    limits = {"subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1,
              "payload": -1, "wildcards": True}  # fmt: skip
    of_operator = signed(
        {"sub": public(operator), "name": "o", "nats": {"type": "operator", "version": 2}}, operator
    )
    of_account = signed(
        {"sub": public(account), "name": "a",
         "nats": {"type": "account", "version": 2, "limits": limits}},
        operator,
    )  # fmt: skip
    of_user = signed(
        {"sub": public(user), "name": "u",
         "nats": {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}},
        account,
    )  # fmt: skip
    creds = tmp_path / "user.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.decode()}\n------END USER NKEY SEED------\n"
    )
    at = restarted(
        nats_server,
        f"operator: {of_operator}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {public(account)}: {of_account} }}",
    )

    login = NatsLogin(creds=creds)
    login.check()
    await works(f"nats://{at}", login)
    await refused(f"nats://{at}", "Authorization Violation")


@pytest.mark.parametrize(
    ("login", "key"),
    [
        ({"user": "u", "token": "t"}, "nats_client.token"),
        ({"password": "p"}, "nats_client.password"),
        ({"nkey": "missing"}, "nats_client.nkey"),
        ({"nkey": "rubbish"}, "nats_client.nkey"),
        ({"nkey": "binary"}, "nats_client.nkey"),
        ({"nkey": "empty"}, "nats_client.nkey"),
        ({"creds": "rubbish"}, "nats_client.creds"),
        ({"creds": "half"}, "nats_client.creds"),
        ({"ca": "rubbish"}, "nats_client.ca"),
        ({"ca": "missing"}, "nats_client.ca"),
        ({"cert": "rubbish"}, "nats_client.cert"),
        ({"key": "rubbish"}, "nats_client.key"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    login: dict[str, str], key: str, tmp_path: Path
) -> None:
    """Before anything is connected, and without what is in it."""
    (tmp_path / "rubbish").write_text("hunter2\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "empty").write_text("")
    (tmp_path / "half").write_text("-----BEGIN NATS USER JWT-----\nx\n")
    texts = ("user", "password", "token")
    given: dict[str, Any] = {
        name: value if name in texts else tmp_path / value for name, value in login.items()
    }
    with pytest.raises(ConfigError) as caught:
        NatsLogin(**given).check()
    assert caught.value.key == key
    assert "hunter2" not in str(caught.value)


def test_the_login_of_one_address_is_that_of_the_cluster() -> None:
    """Servers that are found out later have no login in their addresses."""
    assert NatsLogin().with_urls(["nats://u:p@a", "nats://u:p@b"]).user == "u"
    assert NatsLogin().with_urls(["nats://t@a"]).token == "t"
    assert NatsLogin().with_urls(["nats://a"]) == NatsLogin()
    assert NatsLogin().with_urls(["nats://u:p@a", "nats://v:p@b"]) == NatsLogin()
    assert NatsLogin(token="t").with_urls(["nats://u:p@a"]) == NatsLogin(token="t")


# TLS of a real server.


def tls(certificates: Certificates, more: str = "") -> str:
    """The server's configuration."""
    return f"tls {{ cert_file: {certificates.server}, key_file: {certificates.server_key} {more} }}"


async def test_a_server_with_tls(nats_server: NatsServer, certificates: Certificates) -> None:
    """It is known by its authority; without it, or by another name, it is not talked to."""
    at = restarted(nats_server, tls(certificates))
    known = NatsLogin(ca=certificates.ca)

    await works(f"tls://{at}", known)
    await works(f"nats://{at}", known)  # the server insists on it
    await works(f"tls://{at}", NatsLogin(ca=certificates.ca, tls_name="nats.example"))
    await refused(f"tls://{at}", "certificate verify failed")
    await refused(f"tls://{at}", "certificate verify failed", NatsLogin(ca=certificates.other_ca))
    wrong = NatsLogin(ca=certificates.ca, tls_name="other.example")
    await refused(f"tls://{at}", "certificate verify failed", wrong)


async def test_a_server_that_wants_certificates(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    """Ours, with its key."""
    at = restarted(nats_server, tls(certificates, f", ca_file: {certificates.ca}, verify: true"))
    login = NatsLogin(ca=certificates.ca, cert=certificates.client, key=certificates.client_key)

    await works(f"tls://{at}", login)
    await refused(f"tls://{at}", "No NATS server", NatsLogin(ca=certificates.ca))


async def test_it_comes_back_by_tls(nats_server: NatsServer, certificates: Certificates) -> None:
    """After a restart of the server, subscriptions included."""
    at = restarted(nats_server, tls(certificates))
    login = NatsLogin(ca=certificates.ca)
    async with open_nats_bus([f"tls://{at}"], login=login) as bus, bus.subscribe("a") as inbox:
        nats_server.kill()
        await trio.to_thread.run_sync(nats_server.start)
        with trio.fail_after(PATIENCE):
            await bus.flush()
            bus.publish("a", bytes(500_000))
            assert len((await inbox.receive()).data) == 500_000


async def test_no_login_is_sent_in_the_clear_when_tls_was_wanted() -> None:
    """Whoever pretends to be a server without TLS does not get the password."""
    heard = b""

    async def pretend(stream: trio.SocketStream) -> None:
        nonlocal heard
        await stream.send_all(b'INFO {"server_id":"x","version":"2.9.10","auth_required":true}\r\n')
        async for data in stream:
            heard += data

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, pretend, 0)
        port = listeners[0].socket.getsockname()[1]
        await refused(f"tls://me:hush@127.0.0.1:{port}", "secure connection not available")
        nursery.cancel_scope.cancel()
    assert heard == b""


# TLS of our listener.


@asynccontextmanager
async def secure_listener(
    certificates: Certificates, *, ca: bool = False, **options: Any
) -> AsyncIterator[tuple[LocalBus, Listener]]:
    """A local bus with a listener that wants TLS."""

    def report(what: str, **data: object) -> None:
        assert what != "client.failed", data["error"]

    context = server_context(
        certificates.server, certificates.server_key, certificates.ca if ca else None
    )
    bus = LocalBus()
    async with open_listener(
        bus, "127.0.0.1:0", Options(**options), report=report, tls=context
    ) as listener:
        yield bus, listener
    await bus.aclose()


async def test_clients_come_by_tls(certificates: Certificates) -> None:
    """Large and small messages, both ways, between a room and a client."""
    async with (
        secure_listener(certificates, token="t") as (bus, listener),
        open_nats_bus([listener.url], login=NatsLogin(ca=certificates.ca, token="t")) as client,
        bus.subscribe("up") as up,
        client.subscribe("down") as down,
    ):
        assert listener.url.startswith("tls://")
        assert listener.hub.demands() == {"auth_required": True, "tls_required": True}
        with trio.fail_after(PATIENCE):
            for size in (0, 1, 20_000, 1_000_000):
                for _ in range(5):
                    client.publish("up", os.urandom(size))
                    bus.publish("down", os.urandom(size))
                for _ in range(5):
                    assert len((await up.receive()).data) == size
                    assert len((await down.receive()).data) == size


async def test_clients_may_have_to_show_certificates(certificates: Certificates) -> None:
    """Who has none is not let in."""
    async with secure_listener(certificates, ca=True) as (_, listener):
        await works(
            listener.url,
            NatsLogin(ca=certificates.ca, cert=certificates.client, key=certificates.client_key),
        )
        await refused(listener.url, "No NATS server", NatsLogin(ca=certificates.ca))


async def first_words(port: int, said: bytes) -> tuple[dict[str, Any], bytes]:
    """INFO of the server at *port*, and what it answers to *said*."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            info = b""
            while not info.endswith(b"\r\n"):
                info += await stream.receive_some()
            await stream.send_all(said)
            answer = b""
            try:
                async for data in stream:
                    answer += data
            except trio.BrokenResourceError:
                pass
    return json.loads(info.removeprefix(b"INFO ")), answer


async def test_who_does_not_begin_tls_is_let_go_as_by_a_nats_server(
    nats_server: NatsServer, certificates: Certificates
) -> None:
    """Both say in INFO that they want it, and carry out nothing that comes without."""
    restarted(nats_server, tls(certificates, ", timeout: 0.5"))
    async with secure_listener(certificates) as (_, listener):
        for said in (b'CONNECT {"verbose":true}\r\nPING\r\n', b"\x00" * 40):
            told, answer = await first_words(listener.hub.port, said)
            real, real_answer = await first_words(nats_server.port, said)

            assert told["tls_required"] is real["tls_required"] is True
            assert "tls_verify" not in told
            for one in (answer, real_answer):
                assert b"PONG" not in one
                assert b"+OK" not in one


async def test_a_client_that_stops_in_the_middle_of_tls_is_let_go(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are served meanwhile; nothing is left of it."""
    monkeypatch.setattr("appliance.kernel.bus.listener.secure.HANDSHAKE", 0.3)
    async with secure_listener(certificates) as (_, listener):
        streams = [await trio.open_tcp_stream("127.0.0.1", listener.hub.port) for _ in range(20)]
        for stream in streams:
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00")
        await works(listener.url, NatsLogin(ca=certificates.ca))
        await eventually(lambda: not listener.open)
        for stream in streams:
            await stream.aclose()


async def test_closing_does_not_wait_for_who_is_in_the_middle_of_tls(
    certificates: Certificates,
) -> None:
    """Their connections are cut."""
    async with secure_listener(certificates) as (_, listener):
        stream = await trio.open_tcp_stream("127.0.0.1", listener.hub.port)
        await eventually(lambda: listener.open == 1)
        began = trio.current_time()
    assert trio.current_time() - began < 0.8  # less than others get for their last words
    await stream.aclose()


def test_a_bad_certificate_is_a_setting_that_is_wrong(
    certificates: Certificates, tmp_path: Path
) -> None:
    """Also one whose key has a password: nobody is asked for it."""
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("x")
    for wrong in (rubbish, tmp_path / "missing", certificates.server):
        with pytest.raises(ConfigError, match=r"nats\.tls_cert"):
            server_context(wrong)
    with pytest.raises(ConfigError, match=r"nats\.tls_ca"):
        server_context(certificates.server, certificates.server_key, rubbish)
