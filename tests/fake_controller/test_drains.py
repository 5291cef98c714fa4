"""Lines of apps reach the syslog drains that are bound to them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.server import serve_http
from appliance.logs.messages import Line, LogLines
from fake_controller.syslog import BadDrain, Drain, framed, hostname, message
from tests.certificates import make_certificates

from .conftest import Cloud
from .test_user_provided_services import bind, instance

DRAIN = Drain(app_guid="guid", url="syslog://h", hostname="o.s.a")


def line(text: str, **values: Any) -> Line:
    """A line of a web process."""
    given: dict[str, Any] = {"timestamp": 10**9 + 1500, "source_type": "APP/PROC/WEB"}
    return Line(text=text, **(given | values))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            line("hello\n", instance="2"),
            b"<14>1 1970-01-01T00:00:01.000001+00:00 o.s.a guid [APP/PROC/WEB/2] - [tags@47450"
            b' instance_id="2" source_type="APP/PROC/WEB"] hello\n',
        ),
        (
            line("nü\0l", error=True, source_type="app/task/my job", tags={"a b": '"]\\'}),
            b"<11>1 1970-01-01T00:00:01.000001+00:00 o.s.a guid [APP/TASK/MY-JOB/0] - [tags@47450"
            b' a_b="\\"\\]\\\\" instance_id="0" source_type="app/task/my job"] n\xc3\xbcl\n',
        ),
        (
            line("x", timestamp=10**40),
            b"<14>1 - o.s.a guid [APP/PROC/WEB/0] - [tags@47450"
            b' instance_id="0" source_type="APP/PROC/WEB"] x\n',
        ),
    ],
)
def test_a_line_becomes_a_message(one: Line, expected: bytes) -> None:
    """As RFC 5424 has it, and Cloud Foundry."""
    assert message(one, DRAIN) == expected


def test_names_and_lengths() -> None:
    """A host name has nothing in it that is no part of one; TCP gets the length first."""
    assert hostname("my org", "späce", "a.b") == "my-org.spce.a.b"
    assert framed(b"four\n") == b"5 four\n"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("syslog://h", ("syslog", "h", 514)),
        ("syslog-tls://h:7", ("syslog-tls", "h", 7)),
        ("https://h/path?key=x", ("https", "h", 443)),
        ("http://h", None),
        ("syslog:", None),
        ("syslog://h:x", None),
    ],
)
def test_urls_of_drains(url: str, target: tuple[str, str, int] | None) -> None:
    """Others are refused with a sentence."""
    drain = Drain(app_guid="a", url=url, hostname="h")
    if target is None:
        with pytest.raises(BadDrain, match="syslog drain"):
            drain.target()
    else:
        assert drain.target() == target


@dataclass
class Receiver:
    """A drain: what it has been sent, and whether who sent it has hung up."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    got: list[str] = field(default_factory=list)
    closed: trio.Event = field(default_factory=trio.Event)

    async def take(self, stream: trio.SocketStream) -> None:
        """Receive until there is no more."""
        taking: Any = (
            stream
            if self.tls is None
            else trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        )
        with contextlib.suppress(trio.BrokenResourceError):
            async with taking:
                while data := await taking.receive_some():
                    self.got.append(data.decode())
        self.closed.set()

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.got)


@asynccontextmanager
async def receiver(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A drain that listens while the block runs."""
    made = Receiver(tls=tls)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        made.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, made.take, listeners)
        yield made
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for *condition*."""
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


def says(cloud: Cloud, app: str, text: str) -> None:
    """Let the app write a line."""
    cloud.kit.publish(LogLines(source=app, lines=[line(text)]), subject=f"logs.lines.{app}")


async def bound(cloud: Cloud, url: str) -> tuple[str, str]:
    """An app, and the guid of its binding to a drain."""
    app = await cloud.app()
    made = await instance(cloud, "drain", syslog_drain_url=url)
    return app, (await bind(cloud, made["guid"], app))["guid"]


async def listening(cloud: Cloud) -> list[str]:
    """What is said of drains, from now on."""
    told: list[str] = []

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        async with cloud.kit.subscribe(LogLines) as inbox:
            task_status.started()
            async for received in inbox:
                told.extend(one.text for one in received.body.lines if one.source_type == "LGR")

    await cloud.nursery.start(listen)
    return told


async def test_lines_flow_from_the_binding_to_its_end(cloud: Cloud) -> None:
    """Each with its length before it; none from before, and none after."""
    async with receiver() as drain:
        app, binding = await bound(cloud, f"syslog://drain.localhost:{drain.port}")
        with trio.fail_after(10):
            while not drain.got:
                says(cloud, app, "one")
                await trio.lowlevel.checkpoint()
        says(cloud, app, "two")
        await until(lambda: "two\n" in drain.text)
        await cloud.raw("DELETE", f"/v3/service_credential_bindings/{binding}")
        with trio.fail_after(10):
            await drain.closed.wait()
        says(cloud, app, "three")
        await cloud.call("GET", f"/v3/apps/{app}", expect=200)

    size, first = drain.text.split(" ", 1)
    assert first[: int(size)].startswith("<14>1 ")
    assert f" dev.dev.hello {app} [APP/PROC/WEB/0] - " in first
    assert "three" not in drain.text


async def test_a_drain_that_was_away_gets_what_came_meanwhile(cloud: Cloud) -> None:
    """The app's developers are told why, and no line is lost."""
    told = await listening(cloud)
    async with receiver() as away:
        pass
    app, _ = await bound(cloud, f"syslog://127.0.0.1:{away.port}")
    with trio.fail_after(10):
        while not told:
            says(cloud, app, "one")
            await trio.lowlevel.checkpoint()
    async with receiver(away.port) as drain:
        await until(lambda: "one\n" in drain.text)

    assert "Syslog drain: " in told[0]
    assert "The next attempt is in 1 s." in told[0]


@pytest.mark.parametrize("known", [True, False])
async def test_tls_is_for_those_whose_certificate_is_known(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Whoever else listens there is sent nothing; the app's developers read why."""
    made = await trio.to_thread.run_sync(make_certificates, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca if known else made.other_ca))
    told = await listening(cloud)
    async with receiver(tls=context) as drain:
        app, _ = await bound(cloud, f"syslog-tls://127.0.0.1:{drain.port}")
        with trio.fail_after(10):
            while not (drain.got if known else told):
                says(cloud, app, "one")
                await trio.lowlevel.checkpoint()

    assert ("one\n" in drain.text) == known
    assert known or "certificate verify failed" in told[0].lower()


async def test_lines_are_posted_to_a_drain_that_speaks_http(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message in each request; here without TLS, which is the client's business."""
    got: list[bytes] = []

    async def take(exchange: Exchange) -> None:
        got.append(await exchange.receive_bytes(1 << 20))
        await exchange.reply(200, "OK")

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        blobs = [Blob("POST", "/logs", take)]
        await serve_http(
            None, "127.0.0.1:0", cloud.kit.named("d"), blobs=blobs, task_status=task_status
        )

    url = await cloud.nursery.start(serve)
    request = cloud.kit.http.__class__.request

    async def plain(client: Any, method: str, to: str, **values: Any) -> Any:
        return await request(client, method, to.replace("https:", "http:"), **values)

    monkeypatch.setattr(cloud.kit.http.__class__, "request", plain)
    app, _ = await bound(cloud, f"{url}/logs".replace("http:", "https:"))
    with trio.fail_after(10):
        while not got:
            says(cloud, app, "one")
            await trio.lowlevel.checkpoint()

    assert got[0].endswith(b"] one\n")
