"""Archivers over real sockets: the wire of 2012 without its defects, and ours beside it."""

from __future__ import annotations

import errno
import hashlib
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.archiver import http as archiver_http
from appliance.archiver.messages import DropletStored
from appliance.kernel.kit import Kit
from appliance.kernel.store.blobs import BlobStore

Cluster = Any  # of conftest.py
Node = Any
DROPLET = b"\x1f\x8b droplet " * 1000
OTHER = b"\x1f\x8b another droplet"


def names(data: bytes) -> tuple[str, str]:
    return hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest()


def files(folder: Path) -> list[Path]:
    """All files below *folder*, the database's left out."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in found if not path.name.startswith("archiver.db")]


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_returns_what_was_stored(cluster: Cluster) -> None:
    """200 "OK" to the upload; then GET, HEAD and Range answer as the original does."""
    node = await cluster.start()
    stored = await node.post(DROPLET)
    assert (stored.status, stored.body) == (200, b"OK")
    got = await node.get(DROPLET)
    assert (got.status, got.body) == (200, DROPLET)
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-sha256"] == names(DROPLET)[1]
    part = await node.get(DROPLET, headers={"Range": "bytes=2-5"})
    assert (part.status, part.body) == (206, DROPLET[2:6])
    same = await node.get(DROPLET, headers={"If-None-Match": got.headers["etag"]})
    assert same.status == 304
    head = await node.kit.http.request("HEAD", node.path(DROPLET))
    assert (head.status, int(head.headers["content-length"])) == (200, len(DROPLET))


async def test_storing_twice_is_ok_twice(cluster: Cluster) -> None:
    """The second upload is confirmed too, and announced to nobody."""
    node = await cluster.start()
    assert (await node.post(DROPLET)).status == 200
    assert (await node.post(DROPLET)).status == 200
    assert len(node.told("droplet.stored")) == 1


async def test_a_droplet_belongs_to_its_app(cluster: Cluster) -> None:
    """What one app stored is not found under another's name."""
    node = await cluster.start()
    await node.post(DROPLET, "one")
    assert (await node.get(DROPLET, "two")).status == 404


@pytest.mark.parametrize("route", ["droplets", "sync"])
async def test_refuses_a_wrong_sha1_and_keeps_nothing(
    cluster: Cluster, tmp_path: Path, route: str
) -> None:
    """The uploader learns of the mismatch (the original had said OK), and no file is left."""
    node = await cluster.start(root=tmp_path)
    url = f"{node.url}/{route}/app/{names(OTHER)[0]}"
    answer = await node.kit.http.request("POST", url, content=DROPLET)
    assert answer.status == 422
    assert names(DROPLET)[0] in answer.json()["description"]
    assert answer.json()["code"] == "digest-mismatch"
    assert not files(tmp_path)
    assert (await node.get(OTHER)).status == 404


async def test_refuses_a_wrong_sha256(cluster: Cluster) -> None:
    """What the sender promises by X-Content-Sha256 is checked as well."""
    node = await cluster.start()
    answer = await node.post(DROPLET, headers={"X-Content-Sha256": "0" * 64})
    assert answer.status == 422
    answer = await node.post(DROPLET, headers={"X-Content-Sha256": "00"})
    assert answer.status == 400


async def test_refuses_another_content_under_the_same_sha1(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First writer wins: a colliding file is a conflict, and the first stays readable."""
    node = await cluster.start()
    await node.post(DROPLET)
    url, elsewhere_url, digest = node.path(DROPLET), node.path(DROPLET, "b"), names(DROPLET)[0]
    # No collision is at hand that a test may carry; the server is made to see one.
    real = hashlib.sha1

    class Colliding:
        def __init__(self, **options: Any) -> None:
            self._real = real(usedforsecurity=False)

        def update(self, data: bytes) -> None:
            self._real.update(data)

        def hexdigest(self) -> str:
            return digest

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "sha1", Colliding)
        answer = await node.kit.http.request("POST", url, content=OTHER)
        elsewhere = await node.kit.http.request("POST", elsewhere_url, content=OTHER)
    assert answer.status == 409
    assert answer.json()["code"] == "sha1-collision"
    assert elsewhere.status == 409
    assert await node.holds(DROPLET)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/droplets/app/" + "0" * 40),
        ("POST", "/droplets/app/" + "0" * 40),
        ("DELETE", "/droplets/app/" + "0" * 40),
        ("POST", "/sync/app/" + "0" * 40),
        ("DELETE", "/sync/app/" + "0" * 40),
        ("GET", "/droplets"),
        ("GET", "/digests"),
        ("GET", "/digests/00"),
        ("GET", "/varz"),
    ],
)
async def test_every_route_needs_the_password(cluster: Cluster, method: str, path: str) -> None:
    """Without credentials, or with wrong ones, the answer is 401 and says how."""
    node = await cluster.start()
    plain = "http://" + node.url.rpartition("@")[2]
    wrong = "Basic " + b64encode(b"archiver:wrong").decode()
    for headers in ({}, {"Authorization": wrong}, {"Authorization": "Basic ?"}):
        answer = await node.kit.http.request(method, plain + path, headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "path",
    [
        "/droplets/%2e%2e/" + "0" * 40,
        "/droplets/a%2fb/" + "0" * 40,
        "/droplets/.hidden/" + "0" * 40,
        "/droplets/a%5cb/" + "0" * 40,
        "/droplets/" + "a" * 129 + "/" + "0" * 40,
        "/droplets/app%0a/" + "0" * 40,
        "/droplets/%D0%B0pp/" + "0" * 40,
        "/droplets/app/" + "0" * 39,
        "/droplets/app/" + "0" * 41,
        "/droplets/app/" + "A" * 40,
        "/droplets/app/" + "0" * 40 + "%0a",
        "/droplets/app/" + "g" * 40,
    ],
)
async def test_refuses_names_that_could_be_paths(
    cluster: Cluster, tmp_path: Path, path: str
) -> None:
    """Nothing is opened for a name that is none, by any method."""
    node = await cluster.start(root=tmp_path / "root")
    for method in ("GET", "POST", "DELETE"):
        answer = await node.kit.http.request(method, node.url + path, content=DROPLET)
        assert answer.status in (400, 404, 405)
    assert [path.name for path in entries(tmp_path)] == ["root"]


async def test_refuses_a_droplet_above_the_limit(cluster: Cluster) -> None:
    """The length tells before a byte is read."""
    node = await cluster.start(max_droplet=100)
    assert (await node.post(DROPLET)).status == 413


async def test_a_replica_arrives(cluster: Cluster) -> None:
    """The first node answers at once; the second has the droplet soon, and both say so."""
    one, two = cluster.place(), cluster.place()
    kit: Kit = cluster.kit("test", [])
    a = await cluster.start("a", at=one, peers=(one, two))
    b = await cluster.start("b", at=two, peers=(one, two))
    async with kit.subscribe(DropletStored) as stored:
        await a.post(DROPLET)
        with trio.fail_after(10):
            said = [(await stored.__anext__()).body for _ in range(2)]
    assert [(message.archiver, message.replica) for message in said] == [("a", False), ("b", True)]
    assert {(m.sha1, m.sha256, m.size) for m in said} == {(*names(DROPLET), len(DROPLET))}
    assert await b.holds(DROPLET)


async def test_a_droplet_waits_for_a_peer_that_is_down(cluster: Cluster) -> None:
    """Storing does not wait for the peer; the peer gets everything when it wakes."""
    asleep = cluster.place()
    a = await cluster.start("a", peers=(asleep,))
    for number in range(5):
        assert (await a.post(b"droplet %d" % number)).status == 200

    async def lost() -> bool:
        return bool(a.told("peer.lost"))

    await cluster.until(lost)
    b = await cluster.start("b", at=asleep)
    for number in range(5):
        data = b"droplet %d" % number
        await cluster.until(lambda data=data: b.holds(data))
    assert len(a.told("peer.recovered")) == 1


async def test_sync_never_fans_out(cluster: Cluster) -> None:
    """A replica is owed to nobody, or three archivers would never come to rest."""
    other = cluster.place()
    a = await cluster.start("a", peers=(other,))
    b = await cluster.start("b", at=other)
    data = b"only by sync"
    answer = await a.kit.http.request("POST", a.path(data, sync=True), content=data)
    assert answer.status == 200
    await a.post(DROPLET)  # sent later than a replica of the first would have been
    await cluster.until(lambda: b.holds(DROPLET))
    assert await a.holds(data)
    assert not await b.holds(data)


async def test_being_its_own_peer_does_no_harm(cluster: Cluster) -> None:
    """A shared list of archivers works; the node's answer to itself is that it has it."""
    me = cluster.place()
    node = await cluster.start(at=me, peers=(me,), reconcile_every=0.05)
    await node.post(DROPLET)

    async def sent() -> bool:
        return bool(node.told("replica.sent"))

    await cluster.until(sent)
    assert len(node.told("droplet.stored")) == 1
    assert await node.holds(DROPLET)


async def test_a_new_node_catches_up_by_itself(cluster: Cluster) -> None:
    """Reconciliation fetches what the outbox never owed: here the peer knows nothing of it."""
    first = cluster.place()
    a = await cluster.start("a", at=first)
    for number in range(20):
        await a.post(b"droplet %d" % number, f"app-{number}")
    b = await cluster.start("b", peers=(first,), reconcile_every=0.05)
    for number in range(20):
        data, app = b"droplet %d" % number, f"app-{number}"
        await cluster.until(lambda data=data, app=app: b.holds(data, app))
    assert len(b.told("droplet.stored")) == 20


async def test_a_deletion_reaches_the_peers_and_stays(cluster: Cluster) -> None:
    """Reconciliation does not bring a deleted droplet back, from either side."""
    one, two = cluster.place(), cluster.place()
    a = await cluster.start("a", at=one, peers=(two,), reconcile_every=0.03)
    b = await cluster.start("b", at=two, peers=(one,), reconcile_every=0.03)
    await a.post(DROPLET)
    await cluster.until(lambda: b.holds(DROPLET))
    assert (await a.kit.http.request("DELETE", a.path(DROPLET))).status == 204
    assert (await a.kit.http.request("DELETE", a.path(DROPLET))).status == 404

    async def gone() -> bool:
        return bool((await b.get(DROPLET)).status == 404)

    await cluster.until(gone)
    await a.post(OTHER)
    await cluster.until(lambda: b.holds(OTHER))
    assert (await a.get(DROPLET)).status == 404
    # Stored again, it is a droplet again, everywhere.
    await b.post(DROPLET)
    await cluster.until(lambda: a.holds(DROPLET))


async def test_a_deletion_is_heard_of_by_comparing_too(cluster: Cluster) -> None:
    """A peer that was away when a droplet was deleted deletes it after its return."""
    one = cluster.place()
    a = await cluster.start("a", at=one)
    b = await cluster.start("b", peers=(one,), reconcile_every=0.03)
    await a.post(DROPLET)
    await cluster.until(lambda: b.holds(DROPLET))
    await a.kit.http.request("DELETE", a.path(DROPLET))

    async def gone() -> bool:
        return bool((await b.get(DROPLET)).status == 404)

    await cluster.until(gone)


async def test_a_restart_keeps_droplets_and_debts(cluster: Cluster, tmp_path: Path) -> None:
    """With a root folder everything outlives the process, also what a peer has not got yet."""
    asleep = cluster.place()
    a = await cluster.start("a", root=tmp_path, peers=(asleep,))
    await a.post(DROPLET)
    await a.stop()
    again = await cluster.start("a", root=tmp_path, peers=(asleep,))
    assert await again.holds(DROPLET)
    b = await cluster.start("b", at=asleep)
    await cluster.until(lambda: b.holds(DROPLET))


async def test_in_memory_leaves_nothing_behind(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a root folder the private one is gone after the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    node = await cluster.start()
    await node.post(DROPLET)
    (folder,) = tmp_path.glob("appliance-archiver-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    await node.stop()
    assert not [*tmp_path.glob("appliance-archiver-*")]


async def test_twenty_uploads_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """Different droplets and the same one, all confirmed, all readable."""
    node = await cluster.start(root=tmp_path)
    bodies = [b"%d" % (number % 10) * 200_000 for number in range(20)]
    answers: list[int] = []

    async def upload(data: bytes) -> None:
        answers.append((await node.post(data)).status)

    async with trio.open_nursery() as nursery:
        for data in bodies:
            nursery.start_soon(upload, data)
    assert answers == [200] * 20
    for data in bodies[:10]:
        assert await node.holds(data)
    assert len(node.told("droplet.stored")) == 10
    assert not entries(tmp_path / "spool")


@pytest.mark.parametrize(
    ("code", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EROFS, 503)]
)
async def test_a_full_disk_is_said_and_leaves_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: int
) -> None:
    """507 (or 503), no file left, GET goes on, and storing works again afterwards."""
    node = await cluster.start(root=tmp_path)
    await node.post(OTHER)

    def full(self: BlobStore, spooled: Path, name: str) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(BlobStore, "place", full)
        answer = await node.post(DROPLET)
    assert answer.status == status
    assert not entries(tmp_path / "spool")
    assert await node.holds(OTHER)
    assert (await node.get(DROPLET)).status == 404
    assert (await node.post(DROPLET)).status == 200


async def test_an_upload_leaves_some_room_on_the_disk(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a byte is read: what would fill the disk is refused with 507."""
    node = await cluster.start()
    monkeypatch.setattr(archiver_http, "RESERVE", 2**60)
    assert (await node.post(DROPLET)).status == 507


async def test_a_failing_disk_makes_the_room_unhealthy(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 for the upload, and /readyz says why; the process goes on."""
    node = await cluster.start()

    def broken(self: BlobStore, spooled: Path, name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(BlobStore, "place", broken)
    assert (await node.post(DROPLET)).status == 500
    ready = await node.kit.http.request("GET", node.url + "/readyz")
    assert ready.status == 503
    assert "Input/output error" in ready.json()["archiver"]["reason"]
    assert (await node.kit.http.request("GET", node.url + "/healthz")).body == b"ok"


async def test_a_lost_file_is_fetched_from_a_peer(cluster: Cluster, tmp_path: Path) -> None:
    """A file that somebody removed: 503, never wrong bytes, and soon it is back."""
    one, two = cluster.place(), cluster.place()
    a = await cluster.start("a", at=one, root=tmp_path, peers=(two,), reconcile_every=0.05)
    b = await cluster.start("b", at=two, peers=(one,))
    await a.post(DROPLET)
    await cluster.until(lambda: b.holds(DROPLET))
    (file,) = files(tmp_path / "blobs")
    file.unlink()
    assert (await a.get(DROPLET)).status == 503
    await cluster.until(lambda: a.holds(DROPLET))


async def test_lists_what_it_has(cluster: Cluster) -> None:
    """Every droplet once, or those of one app."""
    node = await cluster.start()
    await node.post(DROPLET, "one")
    await node.post(OTHER, "two")
    listed = (await node.kit.http.request("GET", node.url + "/droplets")).json()["droplets"]
    assert [(row["app_id"], row["sha1"], row["size"]) for row in listed] == [
        ("one", names(DROPLET)[0], len(DROPLET)),
        ("two", names(OTHER)[0], len(OTHER)),
    ]
    some = await node.kit.http.request("GET", node.url + "/droplets?app_id=two")
    assert [row["app_id"] for row in some.json()["droplets"]] == ["two"]


async def test_digests_name_only_the_buckets_in_use(cluster: Cluster) -> None:
    """One droplet is one bucket, whose listing has its digests and generation."""
    node = await cluster.start()
    await node.post(DROPLET)
    digest1, digest256 = names(DROPLET)
    buckets = (await node.kit.http.request("GET", node.url + "/digests")).json()["buckets"]
    assert list(buckets) == [digest1[:2]]
    listed = await node.kit.http.request("GET", f"{node.url}/digests/{digest1[:2]}")
    assert listed.json()["droplets"] == [
        {
            "app_id": "app",
            "sha1": digest1,
            "sha256": digest256,
            "size": len(DROPLET),
            "generation": 1,
        }
    ]
    assert (await node.kit.http.request("GET", node.url + "/digests/zz")).status == 400


async def test_its_url_has_the_password_also_when_it_was_made(cluster: Cluster) -> None:
    """Whoever started the node can use it at once, whatever signs the password has."""
    node = await cluster.start()
    assert "archiver:a%20password%2Fwith%3Asigns@127.0.0.1" in node.url
    node = await cluster.start(password="")
    assert (await node.post(DROPLET)).status == 200
