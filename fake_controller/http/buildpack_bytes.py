"""The bytes of buildpacks: administrators bring them, stagers fetch them."""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path

import trio

from appliance.kernel.http.auth import basic_auth
from appliance.kernel.http.blob_plane import Blob, Exchange, Spooled
from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.buildpacks import taken
from fake_controller.controller import Controller
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.model import Buildpack, Stack
from fake_controller.tokens import Identity

INVALID = "Uploaded buildpack file is invalid: "
MANIFEST = 1024 * 1024  # bytes of a manifest.yml, as Cloud Controller
#: The stack of a manifest.yml, whose documents have it at their top.
_STACK = re.compile(rb"(?m)^stack:[ \t]*[\"']?([\w.-]+)")


def blobs(cc: Controller) -> list[Blob]:
    """Upload by administrators, download by stagers."""

    async def upload(exchange: Exchange) -> None:
        identity = cc.uploader(exchange.headers.get("authorization", ""))
        guid = exchange.params["guid"]
        await cc.read_as(identity, lambda acting: _open(acting, guid))
        form = await exchange.receive_form(cc.bits.buildpacks.spool, limit=cc.config.max_buildpack)
        bits = form.files.pop("bits", None)
        form.discard()
        try:
            await _check(bits)
        except BaseException:
            if bits:
                bits.path.unlink(missing_ok=True)
            raise
        assert bits is not None
        job = await cc.start_job("buildpack.upload", partial(_keep, cc, identity, guid, bits))
        record = await cc.store.get(Buildpack, guid)
        base = cc.config.external_url or exchange.url
        headers = {"Location": f"{base}/v3/jobs/{job.guid}"}
        await exchange.reply(202, present.buildpack(record, base), headers=headers)

    async def fetch(exchange: Exchange) -> None:
        user = cc.config.staging_user
        basic_auth(
            {"authorization": exchange.headers.get("authorization", "")}, user, cc.secrets[user]
        )
        sha256 = exchange.params["sha256"]
        if not re.fullmatch("[0-9a-f]{64}", sha256) or not cc.bits.buildpacks.exists(sha256):
            raise missing("Buildpack")
        await exchange.send_file(
            cc.bits.buildpacks.path(sha256), content_type="application/zip", etag=sha256
        )

    return [
        Blob("POST", "/v3/buildpacks/:guid/upload", upload),
        Blob("GET", "/staging/buildpack/:sha256", fetch),
    ]


def _open(acting: Acting, guid: str) -> Buildpack:
    record = acting.change(Buildpack, guid)
    if record.locked:
        raise unprocessable("Buildpack is locked")
    return record


async def _check(bits: Spooled | None) -> None:
    if bits is None:
        raise unprocessable(f"{INVALID}A buildpack zip file must be uploaded as 'bits'")
    if not bits.size:
        raise unprocessable(f"{INVALID}{bits.filename} cannot be empty")
    if await trio.to_thread.run_sync(_beginning, bits.path) != b"PK\x03\x04":
        raise unprocessable(
            f'{INVALID}{bits.filename} is not a zip file. Buildpacks of lifecycle "buildpack" '
            "must be valid zip files."
        )


async def _keep(cc: Controller, identity: Identity, guid: str, bits: Spooled) -> None:
    """The job of an upload: the zip becomes the buildpack's."""
    try:
        stack = await trio.to_thread.run_sync(_stack_of, bits.path)
        await trio.to_thread.run_sync(cc.bits.buildpacks.commit, bits.path, bits.sha256)
    finally:
        bits.path.unlink(missing_ok=True)

    def work(acting: Acting) -> str | None:
        record = _open(acting, guid)
        changed = acting.tx.change(
            record,
            filename=bits.filename or "buildpack.zip",
            sha256=bits.sha256,
            stack=_checked(acting, record, stack),
        )
        acting.audit("audit.buildpack.upload", changed, {"request": {"bits_name": bits.filename}})
        return record.sha256 if record.sha256 != bits.sha256 else None

    try:
        old = await cc.write_as(identity, work)
    except BaseException:
        cc.forget_buildpack_bits(bits.sha256)
        raise
    cc.forget_buildpack_bits(old)
    cc.kit.trace.event("buildpack.uploaded", buildpack=guid, size=bits.size, sha256=bits.sha256)


def _checked(acting: Acting, record: Buildpack, stack: str | None) -> str | None:
    """The stack that *record* has from now on; *stack* is what its zip says."""
    if stack is None or stack == record.stack:
        return record.stack
    if record.stack is not None:
        detail = f"Uploaded buildpack stack ({stack}) does not match {record.stack}"
        raise CloudError(422, 390011, "CF-BuildpackStacksDontMatch", detail)
    if acting.tx.first(Stack, name=stack) is None:
        detail = f"Uploaded buildpack stack ({stack}) does not exist"
        raise CloudError(422, 390012, "CF-BuildpackStackDoesNotExist", detail)
    if acting.tx.first(Buildpack, name=record.name, stack=stack):
        title = "CF-BuildpackNameStackLifecycleTaken"
        raise CloudError(422, 290000, title, taken(record.name, stack))
    return stack


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _stack_of(path: Path) -> str | None:
    """The stack that the zip's manifest.yml names; blocks. Raises 422 for a broken zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            if "manifest.yml" not in archive.namelist():
                return None
            with archive.open("manifest.yml") as file:
                text = file.read(MANIFEST + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise CloudError(
            422, 390013, "CF-BuildpackZipError", f"Buildpack zip error: {error}"
        ) from None
    if len(text) > MANIFEST:
        detail = "Buildpack zip error: the manifest.yml is too large"
        raise CloudError(422, 390013, "CF-BuildpackZipError", detail)
    found = _STACK.search(text)
    return found[1].decode() if found else None
