"""The controller's desired state, read in pages from ``/bulk/apps``."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from appliance.health_manager.compare import Desired, parse
from appliance.kernel.errors import Unavailable
from appliance.kernel.http.auth import basic_header
from appliance.kernel.kit import Kit
from fake_controller.messages import BulkCredentials, BulkCredentialsRequest

BATCH = 200  # apps in one page
TIMEOUT = 5.0  # seconds for each answer


async def read_desired(controller: str, kit: Kit) -> dict[str, Desired]:
    """What the controller wants of every droplet.

    Raises:
      ApplianceError: no controller answers on the bus, or it refuses.
    """
    login = await kit.request(BulkCredentialsRequest(), BulkCredentials, timeout=TIMEOUT)
    headers = {"Authorization": basic_header(login.user, login.password)}
    desired: dict[str, Desired] = {}
    token = "{}"
    while True:
        query = urlencode({"batch_size": BATCH, "bulk_token": token})
        url = f"{controller}/bulk/apps?{query}"
        answer = await kit.http.request("GET", url, headers=headers, timeout=TIMEOUT)
        if answer.status != 200:
            raise Unavailable(f"/bulk/apps answered {answer.status}.")
        page = answer.json()
        if not page["results"]:
            return desired
        desired |= dict(parse(page["results"]))
        token = json.dumps(page["bulk_token"])
