"""The controller as the registry sees it: apps and droplets over its public API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

import trio

from appliance.kernel.errors import Unavailable
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import BadAnswer
from appliance.kernel.http.sink import Spooled
from appliance.kernel.kit import Kit
from appliance.registry.names import is_guid, slug

CLIENT = "registry"  # at the controller's UAA
PER_PAGE = 5000
MAX_DROPLET = 1536 * 1024 * 1024  # bytes
EARLY = 30.0  # seconds before its end that a token is no longer used


@dataclass(frozen=True, slots=True)
class App:
    """An app, as far as it is a repository."""

    guid: str
    name: str


@dataclass(frozen=True, slots=True)
class Droplet:
    """A staged droplet."""

    guid: str
    created_at: str  # RFC 3339
    sha256: str  # "" when the controller does not say
    command: str  # of its web process; "" when the controller does not say


class Controller:
    """Asks with a token of its own, which it renews when it runs out."""

    def __init__(self, kit: Kit, url: str, secret: str) -> None:
        self._kit = kit
        self._url = url.rstrip("/")
        self._secret = secret
        self._token = ""
        self._token_until = 0.0

    async def find_app(self, repository: str) -> App | None:
        """The app that is meant by its name, by ``org/space/app``, or by its guid."""
        if is_guid(repository):
            answer = await self._get(f"/v3/apps/{repository}")
            return None if answer is None else _app(answer)
        path = repository.split("/")
        if len(path) == 1:
            found = await self._named("/v3/apps", path[0])
        elif len(path) == 3:
            org = await self._named("/v3/organizations", path[0])
            space = org and await self._named(
                "/v3/spaces", path[1], organization_guids=str(org["guid"])
            )
            found = space and await self._named("/v3/apps", path[2], space_guids=str(space["guid"]))
        else:
            found = None
        return _app(found) if found else None

    async def apps(self) -> list[App]:
        """Every app of every space."""
        return [_app(resource) for resource in await self._list("/v3/apps")]

    async def current(self, app: App) -> Droplet | None:
        """The app's current droplet; None when it has not been staged."""
        answer = await self._get(f"/v3/apps/{app.guid}/droplets/current")
        return _droplet(answer) if answer and answer.get("state") == "STAGED" else None

    async def droplets(self, app: App) -> list[Droplet]:
        """Every staged droplet of the app, in no order."""
        found = await self._list("/v3/droplets", app_guids=app.guid)
        return [_droplet(each) for each in found if each.get("state") == "STAGED"]

    async def download(self, droplet: Droplet, folder: Path, *, fsync: bool) -> Spooled:
        """The droplet as a new file in *folder*, which the caller then owns.

        Raises:
          BadAnswer: what came is not what the controller's checksum promises.
        """
        spooled = await self._kit.http.download(
            f"{self._url}/v3/droplets/{droplet.guid}/download",
            folder,
            limit=MAX_DROPLET,
            headers=await self._authorization(),
            fsync=fsync,
        )
        if droplet.sha256 and spooled.sha256 != droplet.sha256:
            spooled.path.unlink()
            raise BadAnswer(f"Droplet {droplet.guid} is not what its checksum promises.", 502)
        return spooled

    async def _named(self, path: str, name: str, **filters: str) -> dict[str, Any] | None:
        """The first resource called *name*, else the first whose name becomes *name*."""
        for resource in await self._list(path, names=name, **filters):
            return resource
        for resource in await self._list(path, **filters):
            if slug(str(resource.get("name", ""))) == name:
                return resource
        return None

    async def _list(self, path: str, **filters: str) -> list[dict[str, Any]]:
        query = urlencode({**filters, "order_by": "created_at", "per_page": PER_PAGE})
        found: list[dict[str, Any]] = []
        following: str | None = f"{self._url}{path}?{query}"
        while following:
            answer = await self._get(following) or {}
            found += answer.get("resources", [])
            link = (answer.get("pagination") or {}).get("next")
            following = link["href"] if link else None
        return found

    async def _get(self, target: str) -> dict[str, Any] | None:
        """The JSON at *target*; None for a 404."""
        url = urljoin(f"{self._url}/", target)
        answer = await self._kit.http.request("GET", url, headers=await self._authorization())
        if answer.status == 401:  # a restarted controller forgets its tokens
            self._token = ""
            answer = await self._kit.http.request("GET", url, headers=await self._authorization())
        if answer.status == 404:
            return None
        value = _checked(answer).json()
        if not isinstance(value, dict):
            raise BadAnswer("The controller's answer is no object.", answer.status)
        return value

    async def _authorization(self) -> dict[str, str]:
        if not self._url:
            raise Unavailable(
                "The registry knows no controller.", hint="Set registry.controller to its URL."
            )
        if not self._token or trio.current_time() > self._token_until:
            form = {
                "grant_type": "client_credentials",
                "client_id": CLIENT,
                "client_secret": self._secret,
            }
            answer = await self._kit.http.request(
                "POST",
                f"{self._url}/oauth/token",
                content=urlencode(form),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
            granted = _checked(answer).json()
            self._token = str(granted["access_token"])
            lifetime = float(granted.get("expires_in", 60))
            self._token_until = trio.current_time() + lifetime - EARLY
        return {"Authorization": f"Bearer {self._token}"}


def _checked(answer: Response) -> Response:
    if not answer.ok:
        raise Unavailable(f"The controller answered {answer.status}: {answer.text[:200]}")
    return answer


def _app(resource: dict[str, Any]) -> App:
    return App(str(resource["guid"]), str(resource["name"]))


def _droplet(resource: dict[str, Any]) -> Droplet:
    checksum = resource.get("checksum") or {}
    types = resource.get("process_types") or {}
    return Droplet(
        guid=str(resource["guid"]),
        created_at=str(resource["created_at"]),
        sha256=str(checksum["value"]) if checksum.get("type") == "sha256" else "",
        command=str(types.get("web") or ""),
    )
