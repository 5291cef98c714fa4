"""Brings an app's files to the controller: only those that it does not have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from appliance.commands.api import Api, Json
from appliance.commands.files import Entry, is_zip, missing, scan, write_zip
from appliance.commands.progress import bar
from appliance.commands.screen import Screen, size


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is pushed: a folder's entries, or a zip that is sent as it is."""

    path: Path
    entries: Sequence[Entry] = ()
    known: Sequence[Json] = ()  # resources that the controller has already
    zipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What went over the wire."""

    files: int
    bytes: int  # of the zip
    matched: int  # files that the controller had


async def look_at(path: Path) -> Source:
    """Read the app at *path*. Raises BadApp."""
    if await trio.to_thread.run_sync(is_zip, path):
        return Source(path=path, zipped=True)
    return Source(path=path, entries=await trio.to_thread.run_sync(scan, path))


async def match(api: Api, source: Source) -> Source:
    """Ask which files of *source* the controller has already."""
    resources = [entry.resource() for entry in source.entries if entry.sha1]
    if not resources:
        return source
    answer = await api.post("/v3/resource_matches", {"resources": resources})
    return Source(path=source.path, entries=source.entries, known=answer["resources"])


async def upload(api: Api, package_guid: str, source: Source, screen: Screen) -> Uploaded:
    """Send what is missing; afterwards the package is ready."""
    path = f"/v3/packages/{package_guid}/upload"
    fields = {"resources": json.dumps(list(source.known))}
    if source.zipped:
        return await _send(api, path, source.path, fields, Uploaded(
            files=1, bytes=source.path.stat().st_size, matched=0), screen)  # fmt: skip
    entries = missing(source.entries, {one["path"] for one in source.known})
    matched = len(source.known)
    if not entries:
        screen.say(f"All {matched} files are there already: none is uploaded.")
        await api.upload_fields(path, fields)
        return Uploaded(files=0, bytes=0, matched=matched)
    with tempfile.TemporaryDirectory(prefix="appliance-push-") as folder:
        package = Path(folder) / "package.zip"
        write = partial(write_zip, source.path, entries, package, compress=not api.target.local)
        await trio.to_thread.run_sync(write)
        about = Uploaded(files=len(entries), bytes=package.stat().st_size, matched=matched)
        return await _send(api, path, package, fields, about, screen)


async def _send(
    api: Api, path: str, package: Path, fields: dict[str, str], about: Uploaded, screen: Screen
) -> Uploaded:
    noun = "file" if about.files == 1 else "files"
    there = f"; {about.matched} are there already" if about.matched else ""
    screen.say(f"Uploading {about.files} {noun}, {size(about.bytes)}{there}...")
    with bar(screen, "Uploading", about.bytes) as sent:
        await api.upload(path, package, fields, sent)
    return about
