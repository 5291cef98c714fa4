"""Damaged files: never served to the end, set aside, and fetched from a peer."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO, Any

import pytest
import trio

from appliance.archiver import http as archiver_http
from appliance.archiver import replicator
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.store.disk import LocalDisk

Cluster = Any  # of conftest.py
Node = Any
SMALL = b"\x1f\x8b droplet " * 1000
LARGE = os.urandom(3 * 1024 * 1024)


def blob(root: Path) -> Path:
    (path,) = [path for path in (root / "blobs").rglob("*") if path.is_file()]
    return path


def flip(path: Path) -> bytes:
    """Turn one bit in the middle of the file; returns what is in it now."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return bytes(data)


async def mirrored(cluster: Cluster, root: Path, data: bytes, **settings: Any) -> tuple[Node, Node]:
    """Two archivers that both have *data*; the first in *root*."""
    one, two = cluster.place(), cluster.place()
    a = await cluster.start("a", at=one, root=root, peers=(two,), **settings)
    b = await cluster.start("b", at=two, peers=(one,))
    await a.post(data)
    await cluster.until(lambda: b.holds(data))
    return a, b


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_damaged_droplet_is_healed_by_a_peer(
    cluster: Cluster, tmp_path: Path, data: bytes
) -> None:
    """Its reader gets an error or a broken connection; then the file is kept aside and replaced.

    The comparisons are an hour apart: it is the damage that sets off the fetching.
    """
    a, _ = await mirrored(cluster, tmp_path, data, reconcile_every=3600.0)
    damaged = flip(blob(tmp_path))
    if data is SMALL:
        answer = await a.get(data)
        assert (answer.status, answer.json()["code"]) == (503, "droplet-lost")
    else:
        with pytest.raises(HttpFailed):
            await a.get(data)
    await cluster.until(lambda: a.holds(data))
    (aside,) = (tmp_path / "quarantine").iterdir()
    assert aside.read_bytes() == damaged
    (event,) = a.told("droplet.damaged")
    assert event.data["why"] == "is damaged"


async def test_a_part_of_a_damaged_droplet_is_not_sent_either(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A range that is itself whole belongs to a file that is not."""
    node = await cluster.start(root=tmp_path)
    await node.post(LARGE)
    part = await node.get(LARGE, headers={"Range": "bytes=0-99"})
    assert (part.status, part.body) == (206, LARGE[:100])
    flip(blob(tmp_path))
    with pytest.raises(HttpFailed):
        await node.get(LARGE, headers={"Range": "bytes=0-99"})
    assert (await node.get(LARGE)).status == 503


async def test_a_checked_answer_leaves_the_connection_usable(cluster: Cluster) -> None:
    """A whole droplet is sent as any other, and HEAD reads nothing."""
    node = await cluster.start()
    await node.post(LARGE)
    for _ in range(3):
        assert await node.holds(LARGE)
    head = await node.kit.http.request("HEAD", node.path(LARGE))
    assert int(head.headers["content-length"]) == len(LARGE)
    assert head.headers["x-droplet-generation"] == "1"


async def test_scrubbing_finds_what_nobody_reads(cluster: Cluster, tmp_path: Path) -> None:
    """No GET, no comparison is due: the slow pass sees it, and it is fetched."""
    a, _ = await mirrored(
        cluster, tmp_path, SMALL, scrub_every=0.05, scrub_rate=1e9, reconcile_every=3600.0
    )

    async def scrubbed() -> bool:
        return bool(a.told("droplets.scrubbed"))

    async def found() -> bool:
        return bool(a.told("droplet.damaged"))

    await cluster.until(scrubbed)
    assert not a.told("droplet.damaged")
    flip(blob(tmp_path))
    await cluster.until(found)
    await cluster.until(lambda: a.holds(SMALL))


async def test_scrubbing_keeps_to_its_rate(cluster: Cluster, tmp_path: Path) -> None:
    """Three megabytes at ten megabytes a second take at least 0.3 s."""
    node = await cluster.start(root=tmp_path, scrub_every=0.001, scrub_rate=10e6)
    began = trio.current_time()
    await node.post(LARGE)

    async def scrubbed() -> bool:
        return bool(node.told("droplets.scrubbed"))

    node.events.clear()
    await cluster.until(scrubbed)
    # The first may have begun before the droplet was there, and ended at once.
    node.events.clear()
    await cluster.until(scrubbed)
    assert trio.current_time() - began >= len(LARGE) / 10e6


async def test_an_unreadable_file_is_a_damaged_one(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector: 503 and a fetch from the peer, and the room says that its disk fails."""
    a, _ = await mirrored(cluster, tmp_path, SMALL, reconcile_every=3600.0)
    bad, real = blob(tmp_path), LocalDisk.open
    inode = bad.stat().st_ino

    def failing(self: LocalDisk, path: Path, *, cold: bool = False) -> IO[bytes]:
        if path == bad and path.exists() and path.stat().st_ino == inode:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, path, cold=cold)

    monkeypatch.setattr(LocalDisk, "open", failing)
    assert (await a.get(SMALL)).status == 503
    await cluster.until(lambda: a.holds(SMALL))
    ready = await a.kit.http.request("GET", a.url + "/readyz")
    assert "Input/output error" in ready.json()["a"]["reason"]


async def test_a_damaged_file_is_not_passed_on(cluster: Cluster, tmp_path: Path) -> None:
    """The peer refuses the bytes, the sender looks at its own file, and that ends it."""
    asleep = cluster.place()
    a = await cluster.start("a", root=tmp_path, peers=(asleep,))
    await a.post(SMALL)
    flip(blob(tmp_path))
    b = await cluster.start("b", at=asleep)

    async def found() -> bool:
        return bool(a.told("droplet.damaged"))

    await cluster.until(found)
    assert (await b.get(SMALL)).status == 404
    # Storing it again heals the first, and the peer is still owed.
    assert (await a.post(SMALL)).status == 200
    await cluster.until(lambda: b.holds(SMALL))


async def test_an_upload_replaces_a_file_that_is_gone(cluster: Cluster, tmp_path: Path) -> None:
    """What is answered with 200 is there, also when the row had said so wrongly."""
    node = await cluster.start(root=tmp_path)
    await node.post(SMALL)
    blob(tmp_path).unlink()
    assert (await node.post(SMALL)).status == 200
    assert await node.holds(SMALL)


async def test_a_lost_droplet_can_be_deleted(cluster: Cluster, tmp_path: Path) -> None:
    """No peer has it either: without this it would be missed and owed for ever."""
    node = await cluster.start(root=tmp_path)
    await node.post(SMALL)
    flip(blob(tmp_path))
    assert (await node.get(SMALL)).status == 503
    assert (await node.kit.http.request("DELETE", node.path(SMALL))).status == 204
    assert (await node.get(SMALL)).status == 404
    assert (await node.kit.http.request("DELETE", node.path(SMALL))).status == 404


async def test_an_fsync_error_is_final(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's fsync fails after the rename: no file and no row stay behind it."""
    node = await cluster.start(root=tmp_path)
    real = LocalDisk.sync

    def failing(self: LocalDisk, path: Path) -> None:
        if path.parent.name == "blobs":
            raise OSError(errno.EIO, "Input/output error")
        real(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(LocalDisk, "sync", failing)
        assert (await node.post(SMALL)).status == 500
        assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert (await node.get(SMALL)).status == 404
    ready = await node.kit.http.request("GET", node.url + "/readyz")
    assert ready.status == 503
    assert (await node.post(SMALL)).status == 200
    assert await node.holds(SMALL)


async def test_a_large_replica_does_not_travel_twice(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that says it has the very droplet is not sent it."""
    monkeypatch.setattr(replicator, "ASK_FIRST", 1000)
    one, two = cluster.place(), cluster.place()
    b = await cluster.start("b", at=two)
    await b.post(SMALL)
    a = await cluster.start("a", at=one, peers=(two,))
    await a.post(SMALL)
    await a.post(LARGE)

    async def sent() -> bool:
        return bool(a.told("replica.sent"))

    await cluster.until(sent)
    assert [event.data["sha1"] for event in a.told("replica.had")] == [
        a.path(SMALL).rpartition("/")[2]
    ]
    assert await b.holds(LARGE)


def test_the_limit_of_small_bodies_is_below_the_large_one_used_here() -> None:
    """Otherwise these tests would not reach the second way of checking."""
    assert len(SMALL) < archiver_http.SMALL < len(LARGE)
