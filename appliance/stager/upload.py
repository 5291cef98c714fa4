"""Phase 6: brings the droplet to the controller."""

from __future__ import annotations

from pathlib import Path

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.client import Client
from appliance.stager.errors import UploadFailed

FIELD = "upload[droplet]"  # of the multipart form, as in 2012
FILENAME = "droplet.tgz"


async def upload(http: Client, uri: str, droplet: Path) -> None:
    """Post *droplet* to *uri* (user and password may be in it).

    Raises:
      UploadFailed: no connection, or an answer other than 2xx.
    """
    try:
        answer = await http.upload_form(uri, FIELD, droplet, filename=FILENAME)
    except ApplianceError as error:
        raise UploadFailed(str(error)) from error
    if not answer.ok:
        said = " ".join(answer.text.split())[:300]
        raise UploadFailed(f"the controller answered {answer.status}{': ' if said else '.'}{said}")
