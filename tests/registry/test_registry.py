"""The distribution API over HTTP, against a controller with a few apps."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from appliance.config import RegistryConfig
from appliance.kernel.http.client import Response
from appliance.kernel.kit import Kit
from appliance.kernel.trace import Event
from appliance.registry.service import serve

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SECRET = "registry-secret"
WEB = "30000000-0000-4000-8000-000000000000"
DROPLET = "40000000-0000-4000-8000-000000000000"
OLDER = "50000000-0000-4000-8000-000000000000"
ABSENT = "sha256:" + "0" * 64


def digest(data: bytes) -> str:
    """``sha256:…`` of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def code(answer: Response) -> str:
    """The code of an error answer, whose form is checked."""
    (error,) = answer.json()["errors"]
    assert set(error) == {"code", "message", "detail"}
    return str(error["code"])


async def pull(kit: Kit, url: str, name: str, tag: str = "latest") -> tuple[Response, Any]:
    """Manifest and config of an image."""
    manifest = await kit.http.request("GET", f"{url}/v2/{name}/manifests/{tag}")
    assert manifest.status == 200, manifest.text
    wanted = manifest.json()["config"]["digest"]
    config = await kit.http.request("GET", f"{url}/v2/{name}/blobs/{wanted}")
    assert digest(config.body) == wanted
    return manifest, config.json()


async def test_base(registry: str, kit: Kit) -> None:
    """Clients ask this first; skopeo and podman give up without it."""
    for path in ("/v2/", "/v2"):
        answer = await kit.http.request("GET", registry + path)
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize("name", ["web", "dev/dev/web", WEB])
async def test_pull(registry: str, kit: Kit, name: str) -> None:
    """Manifest, config and layer agree in every digest and size, under each of the names."""
    manifest, config = await pull(kit, registry, name)
    assert manifest.headers["content-type"] == MANIFEST
    assert manifest.headers["content-length"] == str(len(manifest.body))
    assert manifest.headers["docker-content-digest"] == digest(manifest.body)
    (described,) = manifest.json()["layers"]
    layer = await kit.http.request("GET", f"{registry}/v2/{name}/blobs/{described['digest']}")
    assert digest(layer.body) == described["digest"]
    assert len(layer.body) == described["size"]
    assert "content-encoding" not in layer.headers
    assert layer.headers["docker-content-digest"] == described["digest"]
    assert digest(gzip.decompress(layer.body)) == config["rootfs"]["diff_ids"][0]
    with tarfile.open(fileobj=io.BytesIO(layer.body)) as archive:
        assert "home/vcap/app/hello.txt" in archive.getnames()
    assert config["config"]["Cmd"] == ["echo new"]
    assert config["created"] == "2026-01-02T03:04:05Z"


async def test_manifest_by_digest_and_head(registry: str, kit: Kit) -> None:
    """docker asks HEAD by tag and GET by digest: the same bytes."""
    by_tag = await kit.http.request("HEAD", f"{registry}/v2/web/manifests/latest")
    assert (by_tag.status, by_tag.body) == (200, b"")
    wanted = by_tag.headers["docker-content-digest"]
    by_digest = await kit.http.request("GET", f"{registry}/v2/web/manifests/{wanted}")
    assert digest(by_digest.body) == wanted
    assert by_tag.headers["content-length"] == str(len(by_digest.body))
    assert by_digest.headers["content-type"] == by_tag.headers["content-type"] == MANIFEST
    again = await kit.http.request(
        "GET",
        f"{registry}/v2/web/manifests/{wanted}",
        headers={"If-None-Match": by_digest.headers["etag"]},
    )
    assert again.status == 304


async def test_part_of_a_layer(registry: str, kit: Kit) -> None:
    """A broken pull goes on where it stopped."""
    manifest, _ = await pull(kit, registry, "web")
    (described,) = manifest.json()["layers"]
    url = f"{registry}/v2/web/blobs/{described['digest']}"
    whole = (await kit.http.request("GET", url)).body
    part = await kit.http.request("GET", url, headers={"Range": "bytes=100-"})
    assert (part.status, part.body) == (206, whole[100:])
    head = await kit.http.request("HEAD", url)
    assert (head.status, head.headers["content-length"]) == (200, str(len(whole)))
    beyond = await kit.http.request("GET", url, headers={"Range": "bytes=99999999-"})
    assert beyond.status == 416
    assert "immutable" in head.headers["cache-control"]


async def test_each_droplet_is_a_tag(registry: str, kit: Kit) -> None:
    """``latest`` is the current one; the others keep their own tag."""
    tags = await kit.http.request("GET", f"{registry}/v2/web/tags/list")
    assert tags.json() == {"name": "web", "tags": [DROPLET, OLDER, "latest"]}
    _, config = await pull(kit, registry, "web", OLDER)
    assert config["config"]["Cmd"] == ["echo old"]
    newest, _ = await pull(kit, registry, "web", DROPLET)
    latest, _ = await pull(kit, registry, "web")
    assert newest.body == latest.body


async def test_new_droplet_moves_latest(registry: str, kit: Kit, controller: Any) -> None:
    """A push is seen by the next pull."""
    before, _ = await pull(kit, registry, "web")
    controller.current[WEB] = OLDER
    after, config = await pull(kit, registry, "web")
    assert before.body != after.body
    assert config["config"]["Cmd"] == ["echo old"]


async def test_pages(registry: str, kit: Kit) -> None:
    """n and last cut, Link leads on, a bad n is refused."""
    first = await kit.http.request("GET", f"{registry}/v2/web/tags/list?n=2")
    assert first.json()["tags"] == [DROPLET, OLDER]
    following = first.headers["link"].split(">")[0].removeprefix("<")
    second = await kit.http.request("GET", registry + following)
    assert second.json()["tags"] == ["latest"]
    assert "link" not in second.headers
    catalog = await kit.http.request("GET", f"{registry}/v2/_catalog")
    assert catalog.json() == {"repositories": ["my-empty-app", "web"]}
    assert code(await kit.http.request("GET", f"{registry}/v2/_catalog?n=x")) == (
        "PAGINATION_NUMBER_INVALID"
    )


async def test_app_with_a_name_that_is_no_repository(registry: str, kit: Kit) -> None:
    """It is found by the name that the catalog gives it; it has no droplet, so no tags."""
    tags = await kit.http.request("GET", f"{registry}/v2/my-empty-app/tags/list")
    assert tags.json() == {"name": "my-empty-app", "tags": []}


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("absent/manifests/latest", 404, "NAME_UNKNOWN"),
        ("absent/tags/list", 404, "NAME_UNKNOWN"),
        ("a/b/manifests/latest", 404, "NAME_UNKNOWN"),
        ("10000000-0000-4000-8000-000000000009/tags/list", 404, "NAME_UNKNOWN"),
        ("web/manifests/other", 404, "MANIFEST_UNKNOWN"),
        ("my-empty-app/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        (f"web/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        (f"web/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        ("web/blobs/sha256:bad", 400, "DIGEST_INVALID"),
        ("Web/manifests/latest", 400, "NAME_INVALID"),
        ("web/other/thing", 404, "NAME_UNKNOWN"),
    ],
)
async def test_errors(registry: str, kit: Kit, path: str, status: int, expected: str) -> None:
    """Each in the form and with the code of the specification."""
    answer = await kit.http.request("GET", f"{registry}/v2/{path}")
    assert (answer.status, code(answer)) == (status, expected)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "web/blobs/uploads/"),
        ("PATCH", "web/blobs/uploads/1"),
        ("PUT", "web/manifests/latest"),
        ("DELETE", f"web/manifests/{ABSENT}"),
    ],
)
async def test_pushes_are_refused(registry: str, kit: Kit, verb: str, path: str) -> None:
    """405 UNSUPPORTED, with a body or without."""
    answer = await kit.http.request(verb, f"{registry}/v2/{path}", content=b"x" * 100_000)
    assert (answer.status, code(answer)) == (405, "UNSUPPORTED")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_layer_is_no_manifest(registry: str, kit: Kit) -> None:
    """A blob's digest under manifests/ is unknown, however well the store knows it."""
    manifest, _ = await pull(kit, registry, "web")
    layer = manifest.json()["layers"][0]["digest"]
    answer = await kit.http.request("GET", f"{registry}/v2/web/manifests/{layer}")
    assert code(answer) == "MANIFEST_UNKNOWN"


async def test_nothing_refers_to_an_image(registry: str, kit: Kit) -> None:
    """An empty index, so that clients need not try the tags of old."""
    answer = await kit.http.request("GET", f"{registry}/v2/web/referrers/{ABSENT}")
    assert answer.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    assert answer.json()["manifests"] == []


async def test_clients_that_come_together_share_one_conversion(
    registry: str, kit: Kit, controller: Any, events: list[Event]
) -> None:
    """Ten pulls of a new droplet download and convert it once, and agree."""
    controller.gate = trio.Event()
    pulled: list[bytes] = []

    async def one() -> None:
        manifest, _ = await pull(kit, registry, "web")
        pulled.append(manifest.body)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
            while not controller.downloads:  # noqa: ASYNC110  # over HTTP, so without an event
                await trio.sleep(0.01)
            controller.gate.set()
    assert len(set(pulled)) == 1
    assert controller.downloads == 1
    assert [event.what for event in events].count("droplet.converted") == 1


async def test_failed_conversion_is_told_and_tried_again(
    registry: str, kit: Kit, controller: Any
) -> None:
    """A droplet that is no image is a sentence for the client; the next pull starts anew."""
    good = controller.droplets[DROPLET]
    controller.droplets[DROPLET] = b"no droplet"
    answer = await kit.http.request("GET", f"{registry}/v2/web/manifests/latest")
    assert (answer.status, code(answer)) == (422, "MANIFEST_INVALID")
    assert "no readable tar" in answer.text
    controller.droplets[DROPLET] = good
    await pull(kit, registry, "web")


async def test_renews_its_token(registry: str, kit: Kit, controller: Any) -> None:
    """One token serves many requests; a controller that forgot it is asked for another."""
    await pull(kit, registry, "web")
    await kit.http.request("GET", f"{registry}/v2/web/tags/list")
    assert controller.tokens == 1
    controller.token = "token-2"
    answer = await kit.http.request("GET", f"{registry}/v2/web/tags/list")
    assert answer.status == 200
    assert controller.tokens == 2


async def test_same_digests_from_an_empty_store(
    registry: str, kit: Kit, controller: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Conversion repeats itself: a pin survives the loss of the store."""
    manifest, _ = await pull(kit, registry, "web")
    pinned = manifest.headers["docker-content-digest"]
    config = RegistryConfig(
        bind="127.0.0.1:0", root=tmp_path / "other", controller=controller.url, client_secret=SECRET
    )
    other = cast(str, await nursery.start(partial(serve, config, kit)))
    again = await kit.http.request("GET", f"{other}/v2/web/manifests/{pinned}")
    assert again.body == manifest.body


async def test_kept_store_needs_no_second_conversion(
    kit: Kit, controller: Any, tmp_path: Path
) -> None:
    """After a restart the layer is still there."""
    config = RegistryConfig(
        bind="127.0.0.1:0", root=tmp_path / "kept", controller=controller.url, client_secret=SECRET
    )
    bodies = []
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            url = cast(str, await nursery.start(partial(serve, config, kit)))
            manifest, _ = await pull(kit, url, "web")
            bodies.append(manifest.body)
            nursery.cancel_scope.cancel()
    assert bodies[0] == bodies[1]
    assert controller.downloads == 1


async def test_root_file_system_below_the_droplet(
    kit: Kit, controller: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Two layers, the root file system first and as it is."""
    rootfs = tmp_path / "rootfs.tar"
    with tarfile.open(rootfs, "w") as archive:
        archive.addfile(tarfile.TarInfo("bin"))
    config = RegistryConfig(
        bind="127.0.0.1:0", controller=controller.url, client_secret=SECRET, rootfs=rootfs
    )
    url = cast(str, await nursery.start(partial(serve, config, kit)))
    manifest, made = await pull(kit, url, "web")
    first, second = manifest.json()["layers"]
    assert first["digest"] == digest(rootfs.read_bytes()) == made["rootfs"]["diff_ids"][0]
    assert first["mediaType"].endswith(".tar")
    assert second["mediaType"].endswith(".tar+gzip")
    base = await kit.http.request("GET", f"{url}/v2/web/blobs/{first['digest']}")
    assert base.body == rootfs.read_bytes()


async def test_without_a_controller(kit: Kit, nursery: trio.Nursery) -> None:
    """It starts, and says what it lacks when it is asked."""
    config = RegistryConfig(bind="127.0.0.1:0")
    url = cast(str, await nursery.start(partial(serve, config, kit)))
    answer = await kit.http.request("GET", f"{url}/v2/_catalog")
    assert (answer.status, code(answer)) == (503, "UNAVAILABLE")
    assert "registry.controller" in json.dumps(answer.json())


async def test_ready_and_stopped(kit: Kit) -> None:
    """It serves until the stop, then says so."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, RegistryConfig(bind="127.0.0.1:0"), kit))
        assert kit.health.ready("registry")
        kit.stopping.set()
    assert kit.health.rooms["registry"] == ("stopped", "")
