"""Whom a proxy for builds lets through, and what it understands."""

from __future__ import annotations

import pytest

from appliance.kernel.process.egress_rules import Asked, Target, may_connect, read_head, targets

LEARNT = Target(host="index.test", port=443)
NAMED = Target(host="index.test", port=443, named=True)


@pytest.mark.parametrize(
    ("address", "learnt", "named"),
    [
        ("8.8.8.8", True, True),
        ("2001:4860:4860::8888", True, True),
        ("64:ff9b::808:808", True, True),  # 8.8.8.8 behind a translator
        ("198.18.0.1", True, True),  # stands for another one, see there
        ("203.0.113.80", True, True),
        ("100.64.0.1", False, False),  # a provider's, or a private overlay network
        ("10.0.0.1", False, True),  # a company's own index
        ("192.168.1.1", False, True),
        ("fd00::1", False, True),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("::ffff:127.0.0.1", False, False),
        ("64:ff9b::7f00:1", False, False),
        ("2002:7f00:1::", False, False),
        ("169.254.169.254", False, False),  # where clouds keep the machine's credentials
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("224.0.0.1", False, False),
        ("ff0e::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("255.255.255.255", False, False),
        ("240.0.0.1", False, False),
        ("no address", False, False),
    ],
)
def test_addresses_are_judged_after_the_lookup(address: str, learnt: bool, named: bool) -> None:
    """A learnt host is public; one that the operator named may be in the private network."""
    assert may_connect(LEARNT, address) is learnt
    assert may_connect(NAMED, address) is named


@pytest.mark.parametrize(
    ("host", "address", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("169.254.1.1", "169.254.1.1", True),
        ("::1", "::1", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "10.0.0.1", False),
    ],
)
def test_this_machine_has_to_be_named_as_such(host: str, address: str, allowed: bool) -> None:
    """By its digits or as localhost, in the settings; never because a program asked for it."""
    assert may_connect(Target(host=host, port=1, named=True), address) is allowed
    assert not may_connect(Target(host=host, port=1), address)


def test_hosts_of_settings() -> None:
    """The default port is the scheme's; names before a URL and other kinds of places are known."""
    found = targets(
        ["https://User:word@Index.test/simple", "corp=http://10.0.0.1:8080/", "/srv/wheels",
         "file:///srv", "https://[::1]/", "https://x.test:port/", ""]
    )  # fmt: skip
    assert {str(one) for one in found} == {"index.test:443", "10.0.0.1:8080", "[::1]:443"}
    assert all(one.named for one in found)


@pytest.mark.parametrize(
    ("head", "asked"),
    [
        (b"CONNECT Index.Test:443 HTTP/1.1\r\nHost: x\r\n\r\n", Asked("index.test", 443)),
        (b"CONNECT index.test.:443 HTTP/1.0\r\n\r\n", Asked("index.test", 443)),
        (b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n", Asked("::1", 443)),
        (
            b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n",
            Asked("a", 1, token=b"Basic eA=="),
        ),
        (
            b"GET http://a:81/b?c HTTP/1.1\r\nHost: a:81\r\nProxy-Connection: keep-alive\r\n"
            b"Connection: keep-alive\r\nAccept: */*\r\n\r\n",
            Asked(
                "a",
                81,
                b"GET /b?c HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            ),
        ),
        (
            b"HEAD http://a?c HTTP/1.1\r\n\r\n",
            Asked("a", 80, b"HEAD /?c HTTP/1.1\r\nConnection: close\r\n\r\n"),
        ),
        (b"CONNECT a HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a:0 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a:65536 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT user@a:443 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a\x00b:443 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT a\tb:443 HTTP/1.1\r\n\r\n", None),
        (b"CONNECT [::1:443 HTTP/1.1\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET https://a/ HTTP/1.1\r\n\r\n", None),
        (b"GET http://u:p@a/ HTTP/1.1\r\n\r\n", None),
        (b"GET http://a/ HTTP/1.1\nX: y\r\n\r\n", None),
        (b"\x16\x03\x01\x00\xa5\r\n\r\n", None),
    ],
)
def test_requests_are_understood_or_refused(head: bytes, asked: Asked | None) -> None:
    """CONNECT, and whole http addresses, which go on as requests to their host alone."""
    assert read_head(head) == asked
