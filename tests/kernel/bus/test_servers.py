"""Addresses of NATS servers, as people write them."""

from __future__ import annotations

import pytest

from appliance.kernel.bus.servers import servers
from appliance.kernel.errors import ConfigError


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("nats://a", ["nats://a:4222"]),
        ("nats://a,b:4223,c", ["nats://a:4222", "nats://b:4223", "nats://c:4222"]),
        ("nats://a, nats://b", ["nats://a:4222", "nats://b:4222"]),
        ("nats://me:pw@a,b", ["nats://me:pw@a:4222", "nats://me:pw@b:4222"]),
        ("nats://me:pw@a,you:p@b", ["nats://me:pw@a:4222", "nats://you:p@b:4222"]),
        ("nats://token@a,b", ["nats://token@a:4222", "nats://token@b:4222"]),
        ("tls://a,b", ["tls://a:4222", "tls://b:4222"]),
        ("tls://a,nats://b", ["tls://a:4222", "nats://b:4222"]),
        ("nats://[::1]:4223", ["nats://[::1]:4223"]),
        ("127.0.0.1:4222", ["nats://127.0.0.1:4222"]),
    ],
)
def test_what_the_first_one_says_holds_for_the_others(where: str, found: list[str]) -> None:
    """Scheme and login, unless another one has its own; the port is 4222 unless it is said."""
    assert servers(where) == found


@pytest.mark.parametrize(
    "where",
    ["", "nats://", "nats://a,,b", "http://a", "nats://a:port", "nats://a:99999", "nats://a/b",
     "nats://a b", "nats://[::1", "nats://a,"],
)  # fmt: skip
def test_no_address_is_refused(where: str) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match="bus = "):
        servers(where)


def test_a_login_is_not_repeated() -> None:
    """An error is shown, copied and logged."""
    with pytest.raises(ConfigError) as caught:
        servers("nats://me:hush@a:port")
    assert "hush" not in str(caught.value)
