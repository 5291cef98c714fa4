"""A wheel's proper file name, from what it says inside: the inbox renames files to digests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.package_cache.errors import BadInboxFile

if TYPE_CHECKING:
    from email.message import Message
    from zipfile import ZipFile

LARGEST = 1024 * 1024  # bytes of a metadata file
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")


def wheel_name(path: Path) -> str:
    """The file name that installers want for the wheel at *path*. Blocks.

    Raises:
      BadInboxFile: it is no wheel, or does not say what it is.

    Source: the binary distribution format, “File name convention” and “The .dist-info directory”.
    """
    import zipfile  # here, since hardly anybody brings a wheel of his own

    try:
        with zipfile.ZipFile(path) as archive:
            metadata = _read(archive, r"[^/]+\.dist-info/METADATA")
            wheel = _read(archive, r"[^/]+\.dist-info/WHEEL")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise BadInboxFile(f"The file is no wheel: {error}.") from None
    name = re.sub(r"[-_.]+", "_", metadata.get("Name", ""))
    tags = [tag for tag in wheel.get_all("Tag") or [] if tag.count("-") == 2]
    parts = (name, metadata.get("Version", ""), tags[0] if tags else "")
    if not all(_PART.fullmatch(part) for part in parts):
        raise BadInboxFile("The wheel does not say its name, version and tag.")
    # Several tags that differ in one place only are written with dots, as in `py2.py3-none-any`.
    columns = zip(*(tag.split("-") for tag in tags), strict=True)
    return "-".join((*parts[:2], *(".".join(dict.fromkeys(column)) for column in columns))) + ".whl"


def _read(archive: ZipFile, pattern: str) -> Message:
    from email.parser import Parser

    names = [name for name in archive.namelist() if re.fullmatch(pattern, name)]
    if len(names) != 1:
        raise BadInboxFile("The file is no wheel: it has no .dist-info folder of its own.")
    with archive.open(names[0]) as file:
        return Parser().parsestr(file.read(LARGEST).decode("utf-8", "replace"), headersonly=True)
