"""The client of brokers, against ones that are slow, silent or talk without an end."""

from __future__ import annotations

import pytest
import trio

from appliance.kernel.clock import Ids
from fake_controller.broker.client import Broker, Planned
from fake_controller.broker.errors import BrokerError

from .brokers import running_broker
from .conftest import Cloud

PLANNED = Planned(service_id="s", plan_id="p")


def client(cloud: Cloud, url: str, timeout: float = 5) -> Broker:
    """Asks the broker at *url*."""
    return Broker(
        http=cloud.kit.http,
        ids=Ids(),
        url=url,
        username="ü",
        password="p:w",
        timeout=timeout,
        api="api:1",
        user_guid="me",
    )


async def test_a_broker_that_does_not_answer_in_time(cloud: Cloud) -> None:
    """It may have made what it was asked for, so it must be told to forget it."""
    async with running_broker(cloud) as broker:
        broker.hold = trio.Event()
        with pytest.raises(BrokerError) as told:
            await client(cloud, broker.url, timeout=0.2).provision("i", PLANNED)

    assert str(told.value) == "The request to the service broker timed out"
    assert (told.value.orphan, told.value.http) == (True, 504)


async def test_a_broker_that_breaks_off(cloud: Cloud) -> None:
    """Half an answer is none; a connection that was refused asked for nothing."""

    async def half(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, half, listeners)
        with pytest.raises(BrokerError) as broken:
            await client(cloud, url).provision("i", PLANNED)
        nursery.cancel_scope.cancel()
    with pytest.raises(BrokerError) as refused:
        await client(cloud, url).provision("i", PLANNED)

    assert broken.value.orphan
    assert "The service broker did not answer." in str(broken.value)
    assert "The service broker could not be reached." in str(refused.value)
    assert "connection refused" in str(refused.value)
    assert not refused.value.orphan


async def test_an_answer_without_an_end_is_not_read(cloud: Cloud) -> None:
    """A megabyte is enough for everything but a catalogue."""
    async with running_broker(cloud) as broker:
        broker.says["bind"] = [(201, {"credentials": {"a": "x" * (2 << 20)}})]
        with pytest.raises(BrokerError, match="the body is larger than 1 MB") as told:
            await client(cloud, broker.url).bind("i", "b", PLANNED)

    assert told.value.orphan


async def test_names_are_quoted_and_a_slash_at_the_end_is_none(cloud: Cloud) -> None:
    """What is in a URL is what was meant."""
    async with running_broker(cloud) as broker:
        asking = client(cloud, f"{broker.url}/")
        await asking.unbind("i", "b", Planned(service_id="a&b", plan_id="ü"))
        await asking.progress("i", "b", PLANNED, "50% done", deleting=True)

    unbind, last = broker.asked
    assert unbind.query == {"service_id": "a&b", "plan_id": "ü", "accepts_incomplete": "true"}
    assert last.query["operation"] == "50% done"
    assert last.params == {"instance": "i", "binding": "b"}
