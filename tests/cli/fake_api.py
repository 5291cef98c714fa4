"""A small API that behaves as the real one as far as our commands use it: state, not a script.

Everything is in memory; faults are switched on by attributes. It is also the router: a request
whose Host is an app's route is answered as the app would.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import sys
import threading
import zipfile
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
ORG, SPACE, DOMAIN = "org-1", "space-1", "domain-1"


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may go at any time
            super().handle_error(request, client_address)


class Refusal(Exception):
    def __init__(self, status: int, detail: str, number: int = 10008) -> None:
        self.status, self.detail, self.number = status, detail, number


class FakeApi:
    """One appliance with org dev, space dev and the domain apps.localhost."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []  # method and path, in order
        self.headers: list[Json] = []  # of each request, lower-case names
        self.apps: dict[str, Json] = {}
        self.processes: dict[str, Json] = {}
        self.packages: dict[str, dict[str, bytes]] = {}  # guid: files by path
        self.modes: dict[str, int] = {}
        self.droplets: dict[str, Json] = {}
        self.builds: dict[str, Json] = {}
        self.deployments: dict[str, Json] = {}
        self.routes: dict[str, Json] = {}
        self.cache: dict[str, bytes] = {}
        self.log: dict[str, list[tuple[str, str, str]]] = {}  # app: source, kind, text
        self.answers = [200]  # statuses of the app, the last one for ever
        # Faults
        self.build_failure: Json | None = None
        self.details: str | None = None  # why instances of new versions do not run
        self.state_of_faulty = "CRASHED"
        self.expire_tokens = False
        self.log_store_down = False
        self.unknown_route_for = 0  # answers of the router before it knows the route
        self.ready = True
        self.events: list[Json] = []
        self.page_size = 50
        self.looks_at_builds = 1  # until one is finished; the real one holds the first look
        self._numbers = itertools.count(1)
        self._tokens: set[str] = set()
        self._server = Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # What tests ask

    def asked(self, method: str, prefix: str) -> int:
        """How many requests there were."""
        return sum(m == method and path.startswith(prefix) for m, path in self.requests)

    def app_named(self, name: str) -> Json:
        return next(app for app in self.apps.values() if app["name"] == name)

    def web(self, name: str) -> Json:
        guid = self.app_named(name)["guid"]
        return [p for p in self.processes.values() if p["app"] == guid][-1]

    def say(self, app: str, source: str, text: str, kind: str = "OUT") -> None:
        self.log.setdefault(app, []).append((source, kind, text))

    # The HTTP side

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 64 * 1024  # head and body in one packet: else each answer takes 40 ms

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, value, more = api.answer(self.command, self.path, headers, body)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in more.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_HEAD = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def answer(
        self, method: str, target: str, headers: Json, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        host = headers.get("host", "").partition(":")[0]
        if host.endswith(".apps.localhost"):
            return self._as_router(host)
        split = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(split.query, True).items()}
        self.requests.append((method, split.path))
        self.headers.append(headers)
        try:
            self._check_token(split.path, headers)
            parts = [part for part in split.path.split("/") if part]
            return self._route(method, parts, query, headers, body)
        except Refusal as error:
            errors = [{"code": error.number, "title": "CF-Error", "detail": error.detail}]
            return error.status, {"errors": errors}, {}

    def _as_router(self, host: str) -> tuple[int, Any, dict[str, str]]:
        mapped = [r for r in self.routes.values() if r["url"] == host and r["destinations"]]
        if self.unknown_route_for > 0 or not mapped:
            self.unknown_route_for -= 1
            return 404, b"404 Not Found", {"X-Cf-RouterError": "unknown_route"}
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, b"hello", {}

    def _check_token(self, path: str, headers: Json) -> None:
        if path in ("/oauth/token", "/readyz", "/"):
            return
        given = headers.get("authorization", "")
        if not given:
            raise Refusal(401, "Authentication error", 10002)
        if given.removeprefix("bearer ") not in self._tokens:
            raise Refusal(401, "Invalid Auth Token", 1000)
        if self.expire_tokens:
            self._tokens.clear()
            self.expire_tokens = False
            raise Refusal(401, "Invalid Auth Token", 1000)

    def _route(
        self, method: str, parts: list[str], query: Json, headers: Json, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        given: Json = {}
        if body and headers.get("content-type", "").startswith("application/json"):
            given = json.loads(body)
        match [method, *parts]:
            case ["POST", "oauth", "token"]:
                return self._token(parse_qs(body.decode()), headers)
            case ["GET", "readyz"]:
                return (200 if self.ready else 503), {"controller": {"state": "ready"}}, {}
            case ["GET", "_appliance", "info"]:
                return 200, {"version": "1", "endpoints": {"apps": self.url}}, {}
            case ["GET", "_appliance", "trace"]:
                if not self.events:
                    raise Refusal(404, "Trace not found", 10010)
                return 200, {"trace": "trace-1", "events": self.events}, {}
            case ["GET", "api", "v1", "read", guid]:
                return self._read_log(guid, query)
            case [_, "v3", *rest]:
                return self._v3(method, rest, query, headers, given, body)
        raise Refusal(404, "Unknown request", 10000)

    def _token(self, form: Json, headers: Json) -> tuple[int, Any, dict[str, str]]:
        assert headers["authorization"] == "Basic Y2Y6"
        if form["username"] != ["admin"] or form["password"] != ["admin"]:
            return 401, {"error": "unauthorized", "error_description": "Bad credentials"}, {}
        token = f"token-{next(self._numbers)}"
        self._tokens.add(token)
        return 200, {"access_token": token, "token_type": "bearer"}, {}

    def _read_log(self, guid: str, query: Json) -> tuple[int, Any, dict[str, str]]:
        if self.log_store_down:
            raise Refusal(503, "The log store does not answer.")
        start, limit = int(query.get("start_time", 0)), int(query.get("limit", 100))
        found = [
            {
                "timestamp": str(1_700_000_000_000_000_000 + number * 1_000_000),
                "source_id": guid,
                "instance_id": "0",
                "deprecated_tags": {},
                "tags": {"source_type": source},
                "log": {"payload": base64.b64encode(text.encode()).decode(), "type": kind},
            }
            for number, (source, kind, text) in enumerate(self.log.get(guid, []))
        ]
        found = [one for one in found if int(one["timestamp"]) >= start]
        found = found[::-1][:limit] if query.get("descending") == "true" else found[:limit]
        return 200, {"envelopes": {"batch": found}}, {}

    def _page(self, items: list[Json], path: str, query: Json) -> tuple[int, Any, dict[str, str]]:
        page, size = int(query.get("page", 1)), min(self.page_size, int(query.get("per_page", 50)))
        shown = items[(page - 1) * size : page * size]
        following = None
        if page * size < len(items):
            kept = "&".join(f"{k}={v}" for k, v in query.items() if k != "page")
            following = {"href": f"{self.url}/v3/{path}?page={page + 1}&{kept}"}
        pages = {"total_results": len(items), "next": following}
        return 200, {"pagination": pages, "resources": shown}, {}

    def _v3(
        self, method: str, parts: list[str], query: Json, headers: Json, given: Json, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        names = query.get("names")
        match [method, *parts]:
            case ["GET", "organizations"]:
                found = [{"guid": ORG, "name": "dev"}] if names == "dev" else []
                return self._page(found, "organizations", query)
            case ["GET", "spaces"]:
                space = {
                    "guid": SPACE,
                    "name": "dev",
                    "relationships": {"organization": {"data": {"guid": ORG}}},
                }
                other = space | {
                    "guid": "space-of-others",
                    "relationships": {"organization": {"data": {"guid": "org-2"}}},
                }
                return self._page([other, space] if names == "dev" else [], "spaces", query)
            case ["GET", "domains"]:
                private = {
                    "guid": "domain-0",
                    "name": "private.example",
                    "internal": False,
                    "relationships": {"organization": {"data": {"guid": ORG}}},
                }
                shared = {
                    "guid": DOMAIN,
                    "name": "apps.localhost",
                    "internal": False,
                    "relationships": {"organization": {"data": None}},
                }
                return self._page([private, shared], "domains", query)
            case ["GET", "jobs", guid]:
                return 200, {"guid": guid, "state": "COMPLETE", "errors": []}, {}
            case [_, "apps", *rest]:
                return self._apps(method, rest, query, given)
            case [_, "processes", *rest]:
                return self._processes(method, rest, query, given)
            case ["POST", "resource_matches"]:
                known = [
                    one for one in given["resources"] if one["checksum"]["value"] in self.cache
                ]
                return 201, {"resources": known}, {}
            case ["POST", "packages"]:
                guid = self._guid("package")
                self.packages[guid] = {}
                app = given["relationships"]["app"]["data"]["guid"]
                self.packages[guid]["\0app"] = app.encode()
                return 201, {"guid": guid, "state": "AWAITING_UPLOAD"}, {}
            case ["POST", "packages", guid, "upload"]:
                self._upload(guid, headers["content-type"], body)
                return 200, {"guid": guid, "state": "READY"}, {}
            case ["POST", "builds"]:
                return self._build(given)
            case ["GET", "builds", guid]:
                return 200, self._looked_at(self.builds[guid]), {}
            case ["GET", "droplets"]:
                mine = [d for d in self.droplets.values() if d["app"] == query["app_guids"]]
                return self._page(mine[::-1], "droplets", query)
            case ["GET", "droplets", guid]:
                return 200, self.droplets[guid], {}
            case [_, "deployments", *rest]:
                return self._deployments(method, rest, given)
            case [_, "routes", *rest]:
                return self._routes(method, rest, query, given)
        raise Refusal(404, "Unknown request", 10000)

    def _apps(
        self, method: str, parts: list[str], query: Json, given: Json
    ) -> tuple[int, Any, dict[str, str]]:
        if not parts and method == "GET":
            assert query["space_guids"] == SPACE
            names = query.get("names")
            found = [a for a in self.apps.values() if names is None or a["name"] == names]
            return self._page(found, "apps", query)
        if not parts:
            return 201, self._new_app(given), {}
        app = self.apps.get(parts[0])
        if app is None:
            raise Refusal(404, "App not found", 10010)
        guid = app["guid"]
        match [method, *parts[1:]]:
            case ["DELETE"]:
                del self.apps[guid]
                return 202, b"", {"Location": f"{self.url}/v3/jobs/job-1"}
            case ["PATCH"]:
                app |= given
                return 200, app, {}
            case ["PATCH", "environment_variables"]:
                app["environment"] |= given["var"]
                return 200, {"var": app["environment"]}, {}
            case ["POST", "actions", action]:
                return 200, self._act(app, action), {}
            case ["PATCH", "relationships", "current_droplet"]:
                app["droplet"] = given["data"]["guid"]
                return 200, given, {}
            case ["GET", "droplets", "current"]:
                if not app["droplet"]:
                    raise Refusal(404, "Droplet not found", 10010)
                return 200, self.droplets[app["droplet"]], {}
            case ["GET", "routes"]:
                mine = [
                    r
                    for r in self.routes.values()
                    if any(d["app"]["guid"] == guid for d in r["destinations"])
                ]
                return self._page(mine, f"apps/{guid}/routes", query)
            case ["GET", "processes"]:
                mine = [p for p in self.processes.values() if p["app"] == guid]
                return self._page(mine, f"apps/{guid}/processes", query)
            case ["GET", "processes", "web"]:
                return 200, self._web(guid), {}
            case ["POST", "processes", "web", "actions", "scale"]:
                process = self._web(guid)
                process |= given
                return 202, process, {}
        raise Refusal(404, "Unknown request", 10000)

    def _web(self, app: str) -> Json:
        return [p for p in self.processes.values() if p["app"] == app][-1]

    def _act(self, app: Json, action: str) -> Json:
        if action in ("start", "restart") and not app["droplet"]:
            raise Refusal(422, "Assign a droplet before starting this app.")
        app["state"] = "STOPPED" if action == "stop" else "STARTED"
        if action != "stop":
            self._web(app["guid"])["faulty"] = self.details is not None
        return app

    def _new_app(self, given: Json) -> Json:
        guid = self._guid("app")
        self.apps[guid] = {
            "guid": guid,
            "name": given["name"],
            "state": "STOPPED",
            "environment": given.get("environment_variables") or {},
            "lifecycle": given.get("lifecycle"),
            "droplet": None,
        }
        self._new_process(guid, guid)
        self.say(guid, "API", f"Created app with guid {guid}")
        return self.apps[guid]

    def _new_process(self, app: str, guid: str, like: Json | None = None) -> Json:
        like = like or {}
        self.processes[guid] = {
            "guid": guid,
            "type": "web",
            "app": app,
            "instances": like.get("instances", 1),
            "memory_in_mb": like.get("memory_in_mb", 256),
            "disk_in_mb": like.get("disk_in_mb", 1024),
            "command": like.get("command", "python3 app.py"),
            "health_check": like.get("health_check", {"type": "port", "data": {}}),
            "relationships": {"app": {"data": {"guid": app}}},
            "faulty": False,
        }
        return self.processes[guid]

    def _processes(
        self, method: str, parts: list[str], query: Json, given: Json
    ) -> tuple[int, Any, dict[str, str]]:
        if not parts:
            found = [
                p | {"process_instances": [{"state": s["state"]} for s in self._stats(p)]}
                for p in self.processes.values()
            ]
            return self._page(found, "processes", query)
        process = self.processes.get(parts[0])
        if process is None:
            raise Refusal(404, "Process not found", 10010)
        match [method, *parts[1:]]:
            case ["GET"]:
                return 200, process, {}
            case ["GET", "stats"]:
                return 200, {"resources": self._stats(process)}, {}
            case ["PATCH"] | ["POST", "actions", "scale"]:
                process |= given
                return 200, process, {}
        raise Refusal(404, "Unknown request", 10000)

    def _stats(self, process: Json) -> list[Json]:
        started = self.apps[process["app"]]["state"] == "STARTED"
        state = "RUNNING" if started else "DOWN"
        details = None
        if started and process["faulty"]:
            state, details = self.state_of_faulty, self.details
        running = {
            "uptime": 42,
            "usage": {"cpu": 0.015, "mem": 20971520, "disk": 1048576},
            "mem_quota": 268435456,
            "disk_quota": 1073741824,
        }
        one = {"type": "web", "state": state, "details": details}
        if state == "RUNNING":
            one |= running
        return [one | {"index": index} for index in range(process["instances"])]

    def _upload(self, guid: str, kind: str, body: bytes) -> None:
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        fields = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        files = self.packages[guid]
        for one in json.loads(fields.get("resources", b"[]")):
            files[one["path"]] = self.cache[one["checksum"]["value"]]
            self.modes[one["path"]] = int(one["mode"], 8)
        if "bits" in fields:
            with zipfile.ZipFile(io.BytesIO(fields["bits"])) as archive:
                for info in archive.infolist():
                    data = archive.read(info)
                    files[info.filename] = data
                    self.modes[info.filename] = info.external_attr >> 16
                    self.cache[hashlib.sha1(data).hexdigest()] = data

    def _build(self, given: Json) -> tuple[int, Any, dict[str, str]]:
        package = given["package"]["guid"]
        app = self.packages[package]["\0app"].decode()
        build = {
            "guid": self._guid("build"),
            "state": "STAGING",
            "error": None,
            "droplet": None,
            "appliance": {"failure": None, "staging": None, "task_log": ""},
            "app": app,
            "looks": 0,
        }
        self.builds[build["guid"]] = build
        self.say(app, "STG", "Staging begins")
        return 201, dict(build), {}

    def _looked_at(self, build: Json) -> Json:
        build["looks"] += 1
        if build["looks"] == self.looks_at_builds:
            self._finish(build)
        return dict(build)

    def _finish(self, build: Json) -> None:
        if self.build_failure is not None:
            self.say(build["app"], "STG", "Staging failed")
            build |= {"state": "FAILED"} | self.build_failure
            return
        self.say(build["app"], "STG", "Detected python")
        guid = self._guid("droplet")
        self.droplets[guid] = {
            "guid": guid,
            "app": build["app"],
            "state": "STAGED",
            "created_at": "2026-01-31T12:00:00Z",
            "buildpacks": [{"name": "python", "detect_output": "python"}],
            "process_types": {"web": "python3 app.py"},
            "checksum": {"type": "sha256", "value": "b" * 64},
            "appliance": {"sha1": "a" * 40, "size": 1000},
        }
        staging = {"sandbox": "bubblewrap", "phases": {"detect": 0.001, "upload": 0.02}}
        build |= {"state": "STAGED", "droplet": {"guid": guid}}
        build["appliance"] = {"failure": None, "staging": staging, "task_log": "log\n"}

    def _deployments(
        self, method: str, parts: list[str], given: Json
    ) -> tuple[int, Any, dict[str, str]]:
        if not parts:
            app = given["relationships"]["app"]["data"]["guid"]
            old = self._web(app)
            new = self._new_process(app, self._guid("process"), like=old)
            new["faulty"] = self.details is not None
            deployment = {
                "guid": self._guid("deployment"),
                "app": app,
                "old": old["guid"],
                "status": {"value": "ACTIVE", "reason": "DEPLOYING"},
                "new_processes": [{"guid": new["guid"], "type": "web"}],
                "droplet": given["droplet"],
            }
            self.deployments[deployment["guid"]] = deployment
            return 201, deployment, {}
        deployment = self.deployments[parts[0]]
        new = deployment["new_processes"][0]["guid"]
        if parts[1:] == ["actions", "cancel"]:
            del self.processes[new]
            deployment["status"] = {"value": "FINALIZED", "reason": "CANCELED"}
            return 200, {}, {}
        if self.details is None and deployment["status"]["value"] == "ACTIVE":
            deployment["status"] = {"value": "FINALIZED", "reason": "DEPLOYED"}
            self.processes.pop(deployment["old"])
            self.apps[deployment["app"]]["droplet"] = deployment["droplet"]["guid"]
        return 200, deployment, {}

    def _routes(
        self, method: str, parts: list[str], query: Json, given: Json
    ) -> tuple[int, Any, dict[str, str]]:
        match [method, *parts]:
            case ["GET"]:
                hosts = query.get("hosts")
                found = [r for r in self.routes.values() if hosts in (None, r["host"])]
                return self._page(found, "routes", query)
            case ["POST"]:
                host = given["host"]
                if any(route["host"] == host for route in self.routes.values()):
                    detail = f"Route already exists with host '{host}' for domain 'apps.localhost'."
                    raise Refusal(422, detail)
                guid = self._guid("route")
                self.routes[guid] = {
                    "guid": guid,
                    "host": host,
                    "path": "",
                    "url": f"{host}.apps.localhost",
                    "destinations": [],
                    "relationships": given["relationships"],
                }
                return 201, self.routes[guid], {}
            case ["POST", guid, "destinations"]:
                for one in given["destinations"]:
                    destination = {"guid": self._guid("destination"), "app": one["app"]}
                    self.routes[guid]["destinations"].append(destination)
                return 200, {"destinations": self.routes[guid]["destinations"]}, {}
            case ["DELETE", guid, "destinations", destination]:
                kept = [d for d in self.routes[guid]["destinations"] if d["guid"] != destination]
                self.routes[guid]["destinations"] = kept
                return 204, b"", {}
            case ["DELETE", guid]:
                del self.routes[guid]
                return 202, b"", {"Location": f"{self.url}/v3/jobs/job-2"}
        raise Refusal(404, "Unknown request", 10000)

    def _guid(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"
