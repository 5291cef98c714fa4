"""Somebody who speaks to the API over HTTP alone, as any client would."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from appliance.kernel.http.client import Client, Response

HELLO = Path("sample_apps/python-hello/app.py")
PUSH = "0123456789abcdef0123456789abcdef"  # the trace of everything that a `Person` does


@dataclass
class Person:
    """Somebody with an HTTP client, and with the admin's password."""

    api: str  # base URL
    http: Client
    token: str = ""

    async def raw(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """The bare answer."""
        named = {"X-Vcap-Request-Id": PUSH} | headers
        if self.token:
            named = {"Authorization": f"bearer {self.token}"} | named
        url = self.api + path
        return await self.http.request(method, url, json=body, headers=named)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, which must be one of success."""
        answer = await self.raw(method, path, body)
        assert answer.ok, (method, path, answer.status, answer.body)
        return answer.json() if answer.body else None

    async def login(self, password: str = "admin") -> None:
        """Get a token."""
        answer = await self.http.request(
            "POST",
            f"{self.api}/oauth/token",
            content=f"grant_type=password&username=admin&password={password}",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.ok, answer.body
        self.token = answer.json()["access_token"]

    async def app(self, name: str, env: dict[str, str] | None = None) -> str:
        """A new app's guid."""
        space = (await self.call("GET", "/v3/spaces"))["resources"][0]["guid"]
        made = await self.call(
            "POST",
            "/v3/apps",
            {
                "name": name,
                "relationships": {"space": {"data": {"guid": space}}},
                "environment_variables": env or {},
            },
        )
        return str(made["guid"])

    async def package(self, app: str) -> str:
        """The guid of a package that waits for its bits."""
        relation = {"app": {"data": {"guid": app}}}
        return str((await self.call("POST", "/v3/packages", {"relationships": relation}))["guid"])

    async def upload(self, app: str, folder: Path, files: dict[str, str]) -> str:
        """The guid of a package with *files*, ready to be staged."""
        package = await self.package(app)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        bits = folder / f"{package}.zip"
        bits.write_bytes(buffer.getvalue())
        answer = await self.http.upload_form(
            f"{self.api}/v3/packages/{package}/upload",
            "bits",
            bits,
            filename="package.zip",
            headers={"Authorization": f"bearer {self.token}", "X-Vcap-Request-Id": PUSH},
        )
        assert answer.ok, answer.body
        return package

    async def stage(self, package: str) -> Any:
        """A build of *package*, ended."""
        build = await self.call("POST", "/v3/builds", {"package": {"guid": package}})
        with trio.fail_after(30):
            while build["state"] == "STAGING":
                build = await self.call("GET", f"/v3/builds/{build['guid']}")
        return build

    async def push(
        self,
        name: str,
        folder: Path,
        files: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
    ) -> str:
        """Push an app and wait until it runs; returns its guid."""
        app = await self.app(name, env)
        build = await self.stage(await self.upload(app, folder, files or hello()))
        assert build["state"] == "STAGED", build
        current = {"data": {"guid": build["droplet"]["guid"]}}
        await self.call("PATCH", f"/v3/apps/{app}/relationships/current_droplet", current)
        await self.route(name, app)
        await self.call("POST", f"/v3/apps/{app}/actions/start")
        with trio.fail_after(30):
            while await self.states(app) != ["RUNNING"]:
                await trio.lowlevel.checkpoint()
        return app

    async def route(self, host: str, app: str) -> None:
        """Let ``HOST.apps.localhost`` lead to *app*."""
        space = (await self.call("GET", "/v3/spaces"))["resources"][0]["guid"]
        domain = (await self.call("GET", "/v3/domains"))["resources"][0]["guid"]
        places = {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain}}}
        route = await self.call("POST", "/v3/routes", {"host": host, "relationships": places})
        destinations = {"destinations": [{"app": {"guid": app}}]}
        await self.call("POST", f"/v3/routes/{route['guid']}/destinations", destinations)

    async def states(self, app: str) -> list[str]:
        """The states of the app's web instances."""
        stats = await self.call("GET", f"/v3/apps/{app}/processes/web/stats")
        return [one["state"] for one in stats["resources"]]


def hello() -> dict[str, str]:
    """An app that needs nothing but the standard library."""
    return {"app.py": HELLO.read_text()}
