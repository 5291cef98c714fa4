"""Binding early, and saying who is in the way."""

from __future__ import annotations

import os
import socket

import pytest

from appliance.kernel.errors import ConfigError
from appliance.kernel.http.sockets import PortTaken, listen, split_bind, url


def test_port_zero_takes_a_free_port() -> None:
    """The URL tells which one, and it accepts connections at once."""
    (opened,) = listen("127.0.0.1:0")
    with opened:
        port = opened.getsockname()[1]
        assert url(opened) == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port)).close()


def test_names_the_holder_of_a_taken_port() -> None:
    """The sentence has the process, the exit code is 69, and a hint helps."""
    (holder,) = listen("127.0.0.1:0")
    with holder:
        port = holder.getsockname()[1]
        with pytest.raises(
            PortTaken, match=rf"{port} is taken by this process.*{os.getpid()}"
        ) as told:
            listen(f"127.0.0.1:{port}")
    assert told.value.exit_code == 69
    assert "port 0" in told.value.hint


def test_takes_over_a_descriptor() -> None:
    """``fd://N`` is a socket that listens already; closing it closes the descriptor."""
    (first,) = listen("127.0.0.1:0")
    name = first.getsockname()
    (second,) = listen(f"fd://{first.detach()}")
    with second:
        assert second.getsockname() == name
        socket.create_connection(name).close()


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", ""])
def test_refuses_what_is_no_address(bind: str) -> None:
    """Host and port are both needed."""
    with pytest.raises(ConfigError, match="HOST:PORT"):
        split_bind(bind)


def test_refuses_an_address_of_another_machine() -> None:
    """The operating system's own words are in the sentence."""
    with pytest.raises(ConfigError, match="cannot listen there"):
        listen("192.0.2.1:0")


def test_splits_ipv6() -> None:
    """Brackets are for the text only."""
    assert split_bind("[::1]:7700") == ("::1", 7700)
