"""The calls that cf 8.18 makes for a push, in its order, with what it relies on checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
import yaml

from .conftest import Cloud, zipped

POLLS = 3  # looks that the CLI takes with three seconds of sleep between them


@dataclass
class Cf:
    """One user's CLI. *looks* counts how often something was asked for until it was done."""

    cloud: Cloud
    folder: Path
    looks: dict[str, int] = field(default_factory=dict)

    async def push(
        self, manifest: dict[str, Any], files: dict[str, str], *, with_file: bool = False
    ) -> str:
        """``cf push`` of an app with a buildpack; its guid."""
        app = await self.applied(manifest, with_file=with_file)
        droplet = await self.staged(app, files)
        await self.started(app, droplet)
        return app

    async def push_rolling(
        self, manifest: dict[str, Any], files: dict[str, str], **options: Any
    ) -> str:
        """``cf push --strategy rolling``; the deployment's guid."""
        app = await self.applied(manifest)
        droplet = await self.staged(app, files)
        body = {
            "droplet": {"guid": droplet},
            "strategy": "rolling",
            "relationships": {"app": {"data": {"guid": app}}},
        }
        if options:
            unset = dict.fromkeys(
                ("web_instances", "memory_in_mb", "disk_in_mb",
                 "log_rate_limit_in_bytes_per_second")
            )  # fmt: skip
            body["options"] = {**unset, **options}
        made = await self.cloud.call("POST", "/v3/deployments", body, expect=201)
        for new in made["new_processes"]:
            await self.cloud.call("GET", f"/v3/processes/{new['guid']}/stats", expect=200)
        with trio.fail_after(10):
            while made["status"]["value"] != "FINALIZED":
                made = await self.cloud.call("GET", f"/v3/deployments/{made['guid']}", expect=200)
        assert made["status"]["reason"] == "DEPLOYED"
        await self.running(app)
        await self.summary(app)
        return str(made["guid"])

    async def push_droplet(self, manifest: dict[str, Any], data: bytes) -> str:
        """``cf push --droplet FILE``; the app's guid."""
        cloud, app = self.cloud, await self.applied(manifest)
        relation = {"relationships": {"app": {"data": {"guid": app}}}}
        droplet = await cloud.call("POST", "/v3/droplets", relation, expect=201)
        assert droplet["state"] == "AWAITING_UPLOAD"
        file = self.folder / "own.tgz"
        await trio.Path(file).write_bytes(data)
        answer = await cloud.kit.http.upload_form(
            f"{cloud.url}/v3/droplets/{droplet['guid']}/upload",
            "bits",
            file,
            filename="own.tgz",
            headers={"Authorization": f"bearer {cloud.token}"},
        )
        assert answer.status == 202, answer.body
        await self.done(answer.headers["location"])
        await self.started(app, droplet["guid"])
        return app

    async def applied(self, manifest: dict[str, Any], *, with_file: bool = False) -> str:
        """Steps 0 to 3: the manifest, its job, and the app's guid."""
        cloud, space = self.cloud, await self.cloud.space()
        # The CLI adds this unless a flag says something else of routes.
        wanted = {"default-route": True} | manifest
        text = yaml.safe_dump({"version": 1, "applications": [wanted]})
        headers = {
            "Authorization": f"bearer {cloud.token}",
            "Content-Type": "application/x-yaml",
            "Accept": "application/json",
        }
        spaces = f"{cloud.url}/v3/spaces/{space}"
        request = cloud.kit.http.request
        if with_file:
            compared = await request(
                "POST", f"{spaces}/manifest_diff", content=text, headers=headers
            )
            assert compared.status == 201, compared.body
            assert all(one["path"].startswith("/applications/0") for one in compared.json()["diff"])
        answer = await request(
            "POST", f"{spaces}/actions/apply_manifest", content=text, headers=headers
        )
        assert answer.status == 202, answer.body
        await self.done(answer.headers["location"])
        query = f"names={manifest['name']}&space_guids={space}"
        [app] = (await cloud.call("GET", f"/v3/apps?{query}", expect=200))["resources"]
        assert app["lifecycle"]["type"] == "buildpack"
        return str(app["guid"])

    async def staged(self, app: str, files: dict[str, str]) -> str:
        """Steps 4 to 10: matching, package, build; the droplet's guid."""
        cloud = self.cloud
        listed = [_resource(name, text) for name, text in files.items()]
        matched = await cloud.call("POST", "/v3/resource_matches", {"resources": listed})
        known = {one["path"] for one in matched["resources"]}
        assert all(int(one["mode"], 8) for one in matched["resources"])
        relation = {"type": "bits", "relationships": {"app": {"data": {"guid": app}}}}
        package = await cloud.call("POST", "/v3/packages", relation, expect=201)
        assert package["state"] == "AWAITING_UPLOAD"
        bits = self.folder / f"{package['guid']}.zip"
        missing = {name: text for name, text in files.items() if name not in known}
        await trio.Path(bits).write_bytes(zipped(missing))
        answer = await cloud.upload(package["guid"], bits, json.dumps(matched["resources"]))
        # Anything else costs the CLI three seconds.
        assert (answer.status, answer.json()["state"]) == (200, "READY")
        body = {"package": {"guid": package["guid"]}}
        build = await cloud.call("POST", "/v3/builds", body, expect=201)
        await cloud.call("GET", f"/v3/apps/{app}", expect=200)
        build = await self.until(
            "build", f"/v3/builds/{build['guid']}", lambda now: now["state"] != "STAGING"
        )
        assert build["state"] == "STAGED", build["error"]
        path = f"/v3/droplets/{build['droplet']['guid']}"
        return str((await cloud.call("GET", path, expect=200))["guid"])

    async def started(self, app: str, droplet: str) -> None:
        """Steps 11 to 15: the droplet becomes current, the app restarts, and is shown."""
        current = f"/v3/apps/{app}/relationships/current_droplet"
        await self.cloud.call("PATCH", current, {"data": {"guid": droplet}}, expect=200)
        restarted = await self.cloud.call("POST", f"/v3/apps/{app}/actions/restart", expect=200)
        assert restarted["state"] == "STARTED"
        await self.running(app)
        await self.summary(app)

    async def running(self, app: str) -> None:
        """Poll each process as the CLI does: one instance that runs, or none wanted."""
        page = await self.cloud.call("GET", f"/v3/apps/{app}/processes", expect=200)
        for process in page["resources"]:
            assert process["relationships"]["app"]["data"]["guid"] == app
            await self.until("stats", f"/v3/processes/{process['guid']}/stats", _good)

    async def summary(self, app: str) -> None:
        """What ``cf app`` asks for, all of which must be there."""
        cloud = self.cloud
        for process in (await cloud.call("GET", f"/v3/apps/{app}/processes"))["resources"]:
            own = f"/v3/processes/{process['guid']}"
            assert "HIDDEN" not in str((await cloud.call("GET", own, expect=200))["command"])
            for path in (f"{own}/sidecars", f"{own}/stats"):
                assert isinstance((await cloud.call("GET", path, expect=200))["resources"], list)
        routes = await cloud.call("GET", f"/v3/apps/{app}/routes", expect=200)
        assert all(route["destinations"] for route in routes["resources"])
        await cloud.call("GET", f"/v3/apps/{app}/droplets/current", expect=200)
        query = "order_by=-created_at&page=1&per_page=1&status_values=ACTIVE"
        await cloud.call("GET", f"/v3/deployments?app_guids={app}&{query}", expect=200)

    async def done(self, job: str) -> None:
        """Poll a job until it is COMPLETE."""
        ended = await self.until("job", job, lambda now: now["state"] in ("COMPLETE", "FAILED"))
        assert ended["state"] == "COMPLETE", ended["errors"]

    async def until(self, what: str, path: str, settled: Any) -> Any:
        """Ask until *settled*, at most as often as a patient person would wait."""
        for look in range(1, POLLS + 1):
            self.looks[what] = max(look, self.looks.get(what, 0))
            now = await self.cloud.call("GET", path, expect=200)
            if settled(now):
                return now
        raise AssertionError(f"{path} has not settled after {POLLS} looks: {now}")


def _good(stats: Any) -> bool:
    states = [one["state"] for one in stats["resources"]]
    return not states or "RUNNING" in states


def _resource(name: str, text: str) -> dict[str, Any]:
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    size = len(text.encode())
    return {"path": name, "mode": "644", "checksum": {"value": sha1}, "size_in_bytes": size}
