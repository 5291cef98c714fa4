"""The client of the public API: logs in, follows pages, waits for jobs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import trio

from appliance.commands.errors import ApiError, LoginRefused, NoSuchApp, NoSuchPlace, NotRunning
from appliance.commands.target import Target
from appliance.kernel.http.client import Client, Response
from appliance.kernel.http.errors import HttpFailed
from appliance.kernel.trace import current_trace

T = TypeVar("T")
Json = dict[str, Any]

ROOM = "cli"  # what the trace calls us
INVALID_TOKEN = 1000  # the API's number for a token that is expired or foreign
POLL = 0.2  # seconds between two looks at a job; the server itself waits, too
TIMEOUT = 30.0  # seconds for one answer
CF_CLIENT = "Basic Y2Y6"  # OAuth client "cf" with an empty secret


@dataclass(frozen=True, kw_only=True)
class Place:
    """The space that a command works in."""

    org_guid: str
    space_guid: str


@dataclass
class Api:
    """One logged-in user of one appliance."""

    target: Target
    client: Client
    _token: str = ""
    _login: trio.Lock = field(default_factory=trio.Lock)
    _place: Place | None = None

    async def get(self, path: str, **query: str) -> Any:
        """GET an object."""
        return (await self.send("GET", path, query=query)).json()

    async def post(self, path: str, body: object = None) -> Any:
        """POST, and return the object that was made or changed."""
        return (await self.send("POST", path, body=body)).json()

    async def patch(self, path: str, body: object) -> Any:
        """PATCH, and return the changed object."""
        return (await self.send("PATCH", path, body=body)).json()

    async def delete(self, path: str) -> None:
        """DELETE, and wait until it is done."""
        answer = await self.send("DELETE", path)
        if location := answer.headers.get("location"):
            await self._job(location)

    async def all(self, path: str, **query: str) -> list[Json]:
        """Every object of a list, page after page."""
        found: list[Json] = []
        page = await self.get(path, **query)
        while True:
            found += page["resources"]
            following = page["pagination"]["next"]
            if not following:
                return found
            page = (await self.send("GET", following["href"])).json()

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        silent: bool = False,
    ) -> Response:
        """Send one request, logged in.

        Args:
          path: Below the API, or a whole URL that the API gave us.
          silent: Leave it out of the trace: it is asked again and again.

        Raises:
          ApiError: the API refused it.
          NotRunning: nobody answers.
        """
        url = self._url(path) + (f"?{urlencode(query)}" if query else "")
        client = self.client if silent else self.client.named(ROOM)

        async def attempt(headers: Mapping[str, str]) -> Response:
            return await client.request(method, url, json=body, headers=headers, timeout=TIMEOUT)

        trace = current_trace.set("" if silent else current_trace.get())
        try:
            return await self._authorized(attempt)
        finally:
            current_trace.reset(trace)

    async def upload(
        self, path: str, file: Path, fields: Mapping[str, str], sent: Callable[[int], None] | None
    ) -> Json:
        """POST a form with *fields* and the file as ``bits``; *sent* hears of bytes on the way."""

        async def attempt(headers: Mapping[str, str]) -> Response:
            return await self.client.named(ROOM).upload_form(
                self._url(path),
                "bits",
                file,
                filename="package.zip",
                fields=fields,
                headers=headers,
                sent=sent,
            )

        answer: Json = (await self._authorized(attempt)).json()
        return answer

    async def upload_fields(self, path: str, fields: Mapping[str, str]) -> Json:
        """POST a form without a file: everything is there already."""
        boundary = "appliance-without-a-file"
        lines = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        content = "".join([*lines, f"--{boundary}--\r\n"])
        kind = f"multipart/form-data; boundary={boundary}"

        async def attempt(headers: Mapping[str, str]) -> Response:
            return await self.client.named(ROOM).request(
                "POST",
                self._url(path),
                content=content,
                headers={**headers, "Content-Type": kind},
            )

        answer: Json = (await self._authorized(attempt)).json()
        return answer

    async def place(self) -> Place:
        """The target's org and space.

        Raises:
          NoSuchPlace: one of them does not exist.
        """
        if self._place is None:
            self._place = await self._find_place()
        return self._place

    async def find_app(self, name: str) -> Json | None:
        """The app called *name* in the space, if there is one."""
        space = (await self.place()).space_guid
        found = await self.all("/v3/apps", names=listed(name), space_guids=space)
        return found[0] if found else None

    async def app(self, name: str) -> Json:
        """The app called *name*. Raises NoSuchApp."""
        found = await self.find_app(name)
        if found is None:
            raise NoSuchApp(name, self.target.space)
        return found

    async def login(self) -> None:
        """Get a token now, rather than with the first request.

        Raises:
          LoginRefused: wrong user or password.
        """
        await self._authorization("")

    async def _find_place(self) -> Place:
        org, space = self.target.org, self.target.space
        orgs: list[Json] = []
        spaces: list[Json] = []

        async def find_orgs() -> None:
            orgs.extend(await self.all("/v3/organizations", names=listed(org)))

        # Spaces of that name in all orgs: two answers at once instead of one after the other.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(find_orgs)
            spaces.extend(await self.all("/v3/spaces", names=listed(space)))
        if not orgs:
            raise NoSuchPlace(f"There is no org {org}.")
        guid = orgs[0]["guid"]
        inside = [s for s in spaces if s["relationships"]["organization"]["data"]["guid"] == guid]
        if not inside:
            raise NoSuchPlace(f"There is no space {space} in org {org}.")
        return Place(org_guid=guid, space_guid=inside[0]["guid"])

    async def _job(self, location: str) -> None:
        while True:
            job = await self.get(location)
            if job["state"] == "FAILED":
                first = (job["errors"] or [{}])[0]
                detail = first.get("detail", f"{job['operation']} failed.")
                raise ApiError(200, first.get("code", 0), first.get("title", ""), detail)
            if job["state"] == "COMPLETE":
                return
            await trio.sleep(POLL)

    async def _authorized(
        self, attempt: Callable[[Mapping[str, str]], Awaitable[Response]]
    ) -> Response:
        used = await self._authorization("")
        answer = await self._reached(attempt, used)
        if answer.status == 401 and _number(answer) == INVALID_TOKEN:
            used = await self._authorization(used)
            answer = await self._reached(attempt, used)
        if answer.status >= 400:
            raise _refused(answer)
        return answer

    async def _reached(
        self, attempt: Callable[[Mapping[str, str]], Awaitable[Response]], authorization: str
    ) -> Response:
        try:
            return await attempt({"Authorization": authorization})
        except HttpFailed as error:
            raise self._not_running(error) from error

    async def _authorization(self, stale: str) -> str:
        """The header's value; another one than *stale*, which has been refused."""
        async with self._login:
            if self._token in ("", stale):
                self._token = await self._password_grant()
            return self._token

    async def _password_grant(self) -> str:
        user = {"username": self.target.user, "password": self.target.password}
        headers = {
            "Authorization": CF_CLIENT,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        content = urlencode({"grant_type": "password"} | user)
        try:
            answer = await self.client.named(ROOM).request(
                "POST", self._url("/oauth/token"), content=content, headers=headers
            )
        except HttpFailed as error:
            raise self._not_running(error) from error
        if answer.status in (400, 401):
            raise LoginRefused(f"{self.target.api} refuses to log in {self.target.user}.")
        if answer.status != 200:
            raise _refused(answer)
        return f"bearer {answer.json()['access_token']}"

    def _not_running(self, error: HttpFailed) -> NotRunning:
        running = self.target.endpoints
        if running is not None and not running.alive():
            return NotRunning(
                f"The appliance of {self.target.found_by} (pid {running.pid}) has ended."
            )
        return NotRunning(f"{error} ({self.target.api}, from {self.target.found_by})")

    def _url(self, path: str) -> str:
        return path if "://" in path else self.target.api + path


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Api]:
    """An `Api` for *target*; nothing is sent yet."""
    client = Client()
    try:
        yield Api(target, client)
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()


def with_api(target: Target, work: Callable[[Api], Awaitable[T]]) -> T:
    """Run *work* to its end."""

    async def main() -> T:
        async with connected(target) as api:
            return await work(api)

    return trio.run(main)


def listed(name: str) -> str:
    """*name* as an item of a filter's list: a comma of its own is encoded once more."""
    return quote(name, safe="") if "," in name or "%" in name else name


def _errors(answer: Response) -> list[Json]:
    try:
        errors = json.loads(answer.body)["errors"]
        return [dict(error) for error in errors]
    except (ValueError, KeyError, TypeError):
        return []


def _number(answer: Response) -> int:
    return next((int(error.get("code", 0)) for error in _errors(answer)), 0)


def _refused(answer: Response) -> ApiError:
    errors = _errors(answer)
    if not errors:
        told = " ".join(answer.text.split())[:300]
        return ApiError(answer.status, 0, "", f"The API answered {answer.status}: {told}")
    details = " ".join(str(error.get("detail", "")) for error in errors)
    return ApiError(answer.status, _number(answer), str(errors[0].get("title", "")), details)
