"""skopeo, which shares its code with podman and buildah, pulls from the registry."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import trio

skopeo = shutil.which("skopeo")
pytestmark = pytest.mark.skipif(skopeo is None, reason="skopeo is not installed")


async def run(*arguments: str) -> str:
    """What skopeo prints; fails with its own words."""
    assert skopeo is not None
    done = await trio.run_process(
        [skopeo, *arguments], capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def test_inspects(registry: str) -> None:
    """Name, tags and the platform are what a user sees."""
    host = registry.removeprefix("http://")
    told = json.loads(await run("inspect", "--tls-verify=false", f"docker://{host}/web:latest"))
    assert told["Name"] == f"{host}/web"
    assert "latest" in told["RepoTags"]
    assert told["Os"] == "linux"
    assert len(told["Layers"]) == 1
    assert "PORT=8080" in told["Env"]


@pytest.mark.parametrize("form", ["oci", "docker-archive", "dir"])
async def test_copies(registry: str, tmp_path: Path, form: str) -> None:
    """Every form that skopeo converts to: it checks all digests, diff ids included."""
    host = registry.removeprefix("http://")
    target = tmp_path / form
    name = f"{form}:{target}" + (":web" if form != "dir" else "")
    await run("copy", "--src-tls-verify=false", f"docker://{host}/web:latest", name)
    if form == "oci":
        index = json.loads((target / "index.json").read_text())
        _, _, hexadecimal = index["manifests"][0]["digest"].partition(":")
        manifest = (target / "blobs" / "sha256" / hexadecimal).read_bytes()
        assert hashlib.sha256(manifest).hexdigest() == hexadecimal
        layer = json.loads(manifest)["layers"][0]["digest"].partition(":")[2]
        with tarfile.open(target / "blobs" / "sha256" / layer) as archive:
            assert archive.getmember("home/vcap/app/hello.txt").uid == 2000


async def test_copies_by_digest(registry: str, tmp_path: Path) -> None:
    """A pinned image is pulled by its digest."""
    host = registry.removeprefix("http://")
    raw = await run("inspect", "--raw", "--tls-verify=false", f"docker://{host}/web:latest")
    pinned = f"{host}/web@sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    await run("copy", "--src-tls-verify=false", f"docker://{pinned}", f"dir:{tmp_path / 'x'}")


async def test_tags(registry: str) -> None:
    """``skopeo list-tags`` lists the droplets."""
    host = registry.removeprefix("http://")
    told = json.loads(await run("list-tags", "--tls-verify=false", f"docker://{host}/web"))
    assert told["Tags"][-1] == "latest"
    assert len(told["Tags"]) == 3


async def test_cannot_push(registry: str, tmp_path: Path) -> None:
    """A push ends with the registry's own words."""
    host = registry.removeprefix("http://")
    source = f"dir:{tmp_path / 'x'}"
    await run("copy", "--src-tls-verify=false", f"docker://{host}/web:latest", source)
    assert skopeo is not None
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run(
            [skopeo, "copy", "--dest-tls-verify=false", source, f"docker://{host}/other:latest"],
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert done.returncode != 0
    assert (
        "405" in done.stderr or "read only" in done.stderr or "unsupported" in done.stderr.lower()
    )
