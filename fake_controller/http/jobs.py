"""Jobs: what clients poll."""

from __future__ import annotations

from quart import Response

from fake_controller import present
from fake_controller.http.api import Api
from fake_controller.model import Job


def routes(api: Api) -> None:
    """``/v3/jobs``."""

    @api.get("/v3/jobs/<guid>")
    async def job(guid: str) -> Response:
        async def look() -> Job:
            return await api.read(lambda acting: acting.see(Job, guid))

        def settled(record: Job) -> bool:
            # What a broker goes on with (POLLING) takes as long as it takes.
            return record.state != "PROCESSING"

        return api.json(present.job(await api.held(look, settled, on="work"), api.base))
