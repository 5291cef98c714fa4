"""The controller's side of 2012: what a stager and a DEA of back then ask of it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from appliance.stager.messages import StagingRequest

from .conftest import Cloud, Stager

TUTORIAL = {"/staging/app/": "/download_unstaged_app/", "/staging/droplet/": "/upload_droplet/"}


@dataclass
class OldStager(Stager):
    """Delivers to other paths than it was told, more than once, or to a handle of its own."""

    paths: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[int, Any]] = field(default_factory=list)

    async def upload(self, request: StagingRequest, droplet: bytes) -> Any:
        """Deliver as often as it takes to see what becomes of it."""
        told = request.upload_uri
        for old, new in self.paths.items():
            told = told.replace(old, new)
        wrong = told.rpartition("/")[0] + "/0123456789abcdef"
        nobody = _without_login(told)
        first: Any = None
        for uri in (wrong, nobody, told, told):
            answer = await super().upload(structs.replace(request, upload_uri=uri), droplet)
            self.answers.append((answer.status, answer.json() if answer.body else None))
            if uri == told:
                first = first or answer
        return first


def _without_login(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('@')[2]}"


@pytest.mark.parametrize("paths", [{}, TUTORIAL], ids=["controller's", "tutorial's"])
async def test_a_handle_is_good_for_one_droplet(
    cloud: Cloud, tmp_path: Path, paths: dict[str, str]
) -> None:
    """By either name of the path; not without the login, nor with an unknown handle."""
    cloud.folder = tmp_path
    stager = OldStager(cloud, paths=paths)
    await cloud.nursery.start(stager.run)
    app = await cloud.app()

    await cloud.staged(app, tmp_path)

    assert [status for status, _ in stager.answers] == [400, 401, 200, 400]
    assert stager.answers[0][1]["code"] == 100  # as the first controller said it


@pytest.mark.parametrize("path", ["/staging/app", "/download_unstaged_app"])
async def test_a_package_is_fetched_by_either_name(
    cloud: Cloud, stager: Stager, tmp_path: Path, path: str
) -> None:
    """The newest one, with the stagers' login and nobody else's."""
    app = await cloud.app()
    await cloud.staged(app, tmp_path, "print('old')")
    await cloud.staged(app, tmp_path, "print('new')")
    base = stager.requests[-1].download_uri.partition("/staging/")[0]

    bits = await cloud.kit.http.request("GET", f"{base}{path}/{app}")
    bare = await cloud.kit.http.request("GET", f"{cloud.url}{path}/{app}")
    gone = await cloud.kit.http.request("GET", f"{base}{path}/nothing")

    assert bits.status == 200
    assert zipfile.ZipFile(io.BytesIO(bits.body)).read("app.py") == b"print('new')"
    assert (bare.status, gone.status) == (401, 404)


async def test_a_droplet_comes_from_the_first_archiver_that_has_it(
    cloud: Cloud, stager: Stager, tmp_path: Path
) -> None:
    """Whole, without a redirect and without a login: the digest is the key."""
    app = await cloud.app()
    droplet = await cloud.staged(app, tmp_path)
    await cloud.call(
        "PATCH", f"/v3/apps/{app}/relationships/current_droplet", {"data": {"guid": droplet}}
    )
    (path,) = cloud.stored
    sha1 = path.rpartition("/")[2]

    answer = await cloud.kit.http.request("GET", f"{cloud.url}/staged_droplets/{app}/{sha1}")
    part = await cloud.kit.http.request(
        "GET", f"{cloud.url}/staged_droplets/{app}/{sha1}", headers={"Range": "bytes=0-1"}
    )
    other = "0" * 40
    wrong = await cloud.kit.http.request("GET", f"{cloud.url}/staged_droplets/{app}/{other}")
    nobody = await cloud.kit.http.request("GET", f"{cloud.url}/staged_droplets/x/{sha1}")

    assert answer.status == 200
    assert hashlib.sha1(answer.body).hexdigest() == sha1
    assert (part.status, part.body) == (206, answer.body[:2])
    assert (wrong.status, nobody.status) == (404, 404)
