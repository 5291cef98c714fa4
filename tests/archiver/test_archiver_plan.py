"""The archiver's decisions: generations, comparisons, waits, names."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.archiver.errors import BadDropletName
from appliance.archiver.plan import (
    Holding,
    check_name,
    delay,
    differing,
    digest_bucket,
    lacking,
    make_peer,
    next_generation,
)
from appliance.archiver.wire import BadListing, read_bucket, read_digests, read_generation
from appliance.kernel.errors import ApplianceError, BadRequest, ConfigError


def held(app: str = "app", sha1: str = "0" * 40, generation: int = 1, sha256: str = "") -> Holding:
    return Holding(app, sha1, sha256 or "f" * 64, 7, generation)


def listing(app: str, sha1: str, sha256: str) -> bytes:
    row = {"app_id": app, "sha1": sha1, "sha256": sha256, "size": 1, "generation": 1}
    return json.dumps({"droplets": [row]}).encode()


@given(st.integers(0, 1000), st.booleans())
def test_generations_grow_only_when_something_changes(current: int, stored: bool) -> None:
    """Odd is stored, even is deleted; storing what is stored changes nothing."""
    following = next_generation(current, stored=stored)
    assert (following % 2 == 1) == stored
    assert 0 <= following - current <= 1
    assert next_generation(following, stored=stored) == following


def test_lacks_what_is_newer_elsewhere() -> None:
    """A missing droplet, a missed deletion and a droplet stored again; nothing older."""
    ours = [
        held("same"),
        held("deleted there"),
        held("again there", generation=2),
        held("newer", generation=3),
    ]
    theirs = [
        held("same"),
        held("deleted there", generation=2),
        held("again there", generation=3),
        held("newer", generation=2),
        held("missing"),
        held("missing and deleted", generation=2),
    ]
    assert [one.app_id for one in lacking(ours, theirs)] == [
        "deleted there",
        "again there",
        "missing",
        "missing and deleted",
    ]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=6))
def test_two_archivers_that_pull_from_each_other_agree(rows: list[tuple[str, int]]) -> None:
    """Whatever each knows at first, one exchange in both directions makes them equal."""
    sides: list[dict[tuple[str, str], Holding]] = [{}, {}]
    for number, (app, generation) in enumerate(rows):
        known = sides[number % 2].get((app, "0" * 40))
        if known is None or known.generation < generation:
            sides[number % 2][(app, "0" * 40)] = held(app, generation=generation)
    for ours, theirs in ((0, 1), (1, 0)):
        for better in lacking(sides[ours].values(), list(sides[theirs].values())):
            sides[ours][better.key] = better
    assert sides[0] == sides[1]
    assert digest_bucket(sides[0].values()) == digest_bucket(sides[1].values())


def test_a_digest_tells_every_difference_and_no_order() -> None:
    """Equal sets have equal digests; app, SHA-1, SHA-256 and generation all count."""
    rows = [held("a"), held("b"), held("a", "1" * 40)]
    digest = digest_bucket(rows)
    assert digest == digest_bucket(reversed(rows))
    others = [held("c"), held("b", generation=2), held("b", sha256="e" * 64), held("b", "2" * 40)]
    for other in others:
        assert digest_bucket([rows[0], other, rows[2]]) != digest


def test_compares_only_buckets_that_the_peer_has() -> None:
    """Buckets that only we have are the peer's business."""
    ours = {"00": "same", "01": "ours", "02": "only ours"}
    theirs = {"01": "theirs", "00": "same", "03": "only theirs"}
    assert differing(ours, theirs) == ["01", "03"]


@given(st.integers(1, 2000), st.floats(0, 1))
def test_waits_stay_in_bounds(tries: int, luck: float) -> None:
    """At least half of the doubled wait, never more than the most."""
    wait = delay(tries, 0.2, 60.0, luck)
    whole = min(60.0, 0.2 * 2 ** min(tries - 1, 60))
    assert whole / 2 <= wait <= whole


@pytest.mark.parametrize("app", ["a", "A9", "0f8fad5b-d9cb-469f-a165-70867728950e", "a" * 128])
def test_takes_app_ids(app: str) -> None:
    """Guids and the plain names of tutorials."""
    assert check_name(app, "0" * 40) == (app, "0" * 40)


@pytest.mark.parametrize(
    ("app", "sha1"),
    [
        ("", "0" * 40),
        (".", "0" * 40),
        ("..", "0" * 40),
        ("-rf", "0" * 40),
        ("a/b", "0" * 40),
        ("a\\b", "0" * 40),
        ("a\n", "0" * 40),
        ("a\0", "0" * 40),
        ("a" * 129, "0" * 40),
        ("\u0430pp", "0" * 40),
        ("app", "0" * 39),
        ("app", "0" * 41),
        ("app", "0" * 40 + "\n"),
        ("app", "A" * 40),
        ("app", "\u0660" * 40),
    ],
)
def test_refuses_what_could_be_a_path(app: str, sha1: str) -> None:
    """The whole text must match; a final newline or a look-alike letter does not."""
    with pytest.raises(BadDropletName):
        check_name(app, sha1)


def test_a_peer_has_its_own_credentials_or_ours() -> None:
    """Its name never has any, and IPv6 hosts keep their brackets."""
    peer = make_peer("http://127.0.0.1:7761/", "archiver", "p/w")
    assert (peer.name, peer.url) == ("127.0.0.1:7761", "http://archiver:p%2Fw@127.0.0.1:7761")
    peer = make_peer("https://u:secret@[::1]:7761/base", "archiver", "p")
    assert (peer.name, peer.url) == ("[::1]:7761/base", "https://u:secret@[::1]:7761/base")


@pytest.mark.parametrize("url", ["127.0.0.1:7761", "ftp://x", "http://", "http://u:secret@h:x"])
def test_refuses_peers_that_are_no_urls(url: str) -> None:
    """The sentence shows the setting, but no password."""
    with pytest.raises(ConfigError, match="must look like") as failure:
        make_peer(url, "archiver", "p")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        listing("../x", "0" * 40, "f" * 64),
        listing("a", "0" * 39, "f" * 64),
        listing("a", "0" * 40, "../x"),
        listing("a", "0" * 40, ""),
    ],
)
def test_a_peers_listing_is_checked(body: bytes) -> None:
    """What another machine says never becomes a path or a crash."""
    with pytest.raises(ApplianceError):
        read_bucket(body)


def test_a_peers_buckets_are_checked() -> None:
    """A bucket's name goes into a URL."""
    assert read_digests(b'{"buckets": {"0f": "d"}}') == {"0f": "d"}
    with pytest.raises(BadListing, match="bucket"):
        read_digests(b'{"buckets": {"../droplets": "d"}}')


@pytest.mark.parametrize("value", ["2", "-1", "1.5", "x", "9" * 20, "\u0661"])
def test_a_generation_that_is_none_is_refused(value: str) -> None:
    """A replica has an odd one; anything else would confuse every archiver."""
    with pytest.raises(BadRequest):
        read_generation({"x-droplet-generation": value}, stored=True)
