"""Requests go through their route's service first, and reach the app only from there."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest

from appliance.router.route_service import (
    BadService,
    BadSignature,
    ExpiredSignature,
    Signer,
    service_of,
)
from tests.router.rig import App, Handler, Raw, Running, ok, running, says

HOST = "app.apps.localhost"
SERVICE = "guard.apps.localhost"
URL = f"https://{SERVICE}/check?by=router"
ONWARD = ("X-CF-Forwarded-Url", "X-CF-Proxy-Signature", "X-CF-Proxy-Metadata")


def field(head: bytes, name: str) -> str:
    """The value of the field *name* of a head; "" without it."""
    found = re.search(rf"(?im)^{name}: (.*?)\r$".encode(), head)
    return found[1].decode() if found else ""


def passing(router: Running) -> Handler:
    """A service that sends each request on to where it was meant to go, with one more field."""

    async def handler(raw: Raw, head: bytes) -> None:
        host, path = re.match(r"http://([^/]+)(.*)", field(head, ONWARD[0])).groups()  # type: ignore[union-attr]
        body = await raw.exactly(int(field(head, "Content-Length") or 0))
        method = head.split(b" ", 1)[0].decode()
        kept = "".join(f"{name}: {field(head, name)}\r\n" for name in ONWARD)
        async with router.client() as client:
            await client.send(
                f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
                f"X-Seen: yes\r\n{kept}\r\n".encode()
                + body
            )
            answer = await client.answer()
        await raw.send(ok(answer.body, "Set-Cookie: JSESSIONID=s"))

    return handler


async def guarded(router: Running, handler: Handler) -> App:
    """The app behind a service at HOST."""
    return await router.app(handler, HOST, instance="i1", service=URL)


async def test_a_request_goes_through_its_service_and_reaches_the_app() -> None:
    """Method, path and body arrive; the app sees nothing of the router's own fields."""

    async def echo(raw: Raw, head: bytes) -> None:
        await raw.send(ok(await raw.exactly(int(field(head, "Content-Length") or 0))))

    async with running() as router:
        app = await guarded(router, echo)
        service = await router.app(passing(router), SERVICE)
        async with router.client() as client:
            await client.send(
                f"POST /pay?x=1 HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello".encode()
            )
            answer = await client.answer()

    assert answer.body == b"hello"
    assert "__VCAP_ID__" not in answer["set-cookie"]
    (asked,) = service.heads
    assert asked.startswith(b"POST /check?by=router HTTP/1.1\r\nHost: guard.apps.localhost\r\n")
    assert field(asked, "X-CF-Forwarded-Url") == f"http://{HOST}/pay?x=1"
    (head,) = app.heads
    assert head.startswith(b"POST /pay?x=1 HTTP/1.1\r\n")
    assert field(head, "X-Seen") == "yes"
    assert not any(field(head, name) for name in ONWARD)


async def test_nobody_passes_for_the_service() -> None:
    """Without a signature one goes to the service; with a wrong one nowhere."""
    async with running() as router:
        app = await guarded(router, says(ok(b"secret")))
        other = await router.app(says(ok(b"other")), "other.apps.localhost", service=URL)
        service = await router.app(says(ok(b"stopped here")), SERVICE)
        bare = await router.get(HOST)
        forged = await router.get(
            HOST,
            X_CF_Proxy_Signature=urlsafe_b64encode(b"{}").decode(),
            X_CF_Proxy_Metadata=urlsafe_b64encode(b"{}").decode(),
        )
        head = service.heads[0]
        elsewhere = await router.get(
            "other.apps.localhost",
            X_CF_Proxy_Signature=field(head, "X-CF-Proxy-Signature"),
            X_CF_Proxy_Metadata=field(head, "X-CF-Proxy-Metadata"),
        )
    assert bare.body == b"stopped here"
    for refused in (forged, elsewhere):
        assert (refused.status, refused["x-cf-routererror"]) == (
            502,
            "invalid_route_service_signature",
        )
    assert app.heads == other.heads == []


async def test_a_service_can_be_outside() -> None:
    """By plain HTTP it is asked where it is; by HTTPS the router says that it cannot."""
    async with running() as router:
        outside = App(says(ok(b"outside")))
        await router.nursery.start(outside.run)
        url = f"http://127.0.0.1:{outside.port}/in"
        await router.app(says(ok(b"")), HOST, service=url)
        await router.app(says(ok(b"")), "tls.apps.localhost", service="https://127.0.0.1:1/in")
        answer = await router.get(HOST)
        refused = await router.get("tls.apps.localhost")

    assert answer.body == b"outside"
    assert field(outside.heads[0], "Host") == f"127.0.0.1:{outside.port}"
    assert (refused.status, refused["x-cf-routererror"]) == (502, "route_service_unsupported")


async def test_websockets_do_not_go_around_a_service() -> None:
    """As gorouter, which cannot lead them through one."""
    async with running() as router:
        app = await guarded(router, says(ok(b"")))
        await router.app(says(ok(b"")), SERVICE)
        refused = await router.get(HOST, Connection="Upgrade", Upgrade="websocket")

    assert (refused.status, refused["x-cf-routererror"]) == (503, "route_service_unsupported")
    assert app.heads == []


async def test_a_route_whose_service_makes_no_sense_is_not_opened() -> None:
    """It would answer without the service; a later registration without one is taken."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST, service="ftp://guard")
        before = await router.get(HOST)
        await router.register(app.port, HOST)
        after = await router.get(HOST)

    assert (before.status, after.status) == (404, 200)
    assert "ftp://guard" in str(router.told("route.refused")[0].data["why"])


@pytest.mark.parametrize(
    "url", ["guard", "http://", "https://u:p@guard/", "http://guard:port/", "http://gu ard/"]
)
def test_a_services_url_is_a_plain_one(url: str) -> None:
    """Anything else would be found out only when a request comes."""
    with pytest.raises(BadService):
        service_of(url)


def test_a_signature_holds_for_a_minute_and_for_its_router() -> None:
    """Time, key, contents and nonce are all under the seal."""
    signer = Signer(b"key")
    signature, metadata = signer.sign("http://a/b", 1000.0, "n")

    assert signer.check(signature, metadata, 1060.0) == "http://a/b"
    with pytest.raises(ExpiredSignature):
        signer.check(signature, metadata, 1060.5)
    with pytest.raises(BadSignature, match="not made"):
        Signer(b"other").check(signature, metadata, 1001.0)
    with pytest.raises(BadSignature, match="not made"):
        signer.check(signature, urlsafe_b64encode(b'{"nonce": "m"}'), 1001.0)
    changed = urlsafe_b64encode(urlsafe_b64decode(signature).replace(b"/b", b"/c"))
    with pytest.raises(BadSignature, match="not made"):
        signer.check(changed, metadata, 1001.0)
    with pytest.raises(BadSignature, match="base64"):
        signer.check(b"a", metadata, 1001.0)
