"""Phase 1: downloads the app's zip."""

from __future__ import annotations

from pathlib import Path

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.client import Client
from appliance.stager.errors import FetchFailed


async def fetch(http: Client, uri: str, folder: Path, *, limit: int) -> Path:
    """Download *uri* (user and password may be in it) into *folder*; at most *limit* bytes.

    Raises:
      FetchFailed: no connection, an answer other than 2xx, or too many bytes.
    """
    try:
        return (await http.download(uri, folder, limit=limit)).path
    except ApplianceError as error:
        raise FetchFailed(str(error)) from error
