"""A service broker: it keeps notes for other apps. Open Service Broker API 2.15, stdlib only.

Plan "now" answers at once. Plan "later" takes its time: it says 202, and must be asked how the
operation stands. BROKER_USER and BROKER_PASSWORD are what the platform logs in with, BROKER_DELAY
is how many seconds "later" takes.
"""

import base64
import json
import os
import re
import secrets
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USER = os.environ.get("BROKER_USER", "broker")
PASSWORD = os.environ.get("BROKER_PASSWORD", "secret")
DELAY = float(os.environ.get("BROKER_DELAY", "2"))
NOW, LATER = "5e1b3c1e-notes-now", "5e1b3c1e-notes-later"

CATALOG = {
    "services": [
        {
            "id": "5e1b3c1e-notes",
            "name": "notes",
            "description": "Keeps notes for apps, as long as the broker runs",
            "bindable": True,
            "plan_updateable": True,
            "instances_retrievable": True,
            "bindings_retrievable": True,
            "tags": ["notes"],
            "metadata": {"displayName": "Notes", "shareable": True},
            "plans": [
                {
                    "id": NOW,
                    "name": "now",
                    "description": "Is there at once",
                    "maintenance_info": {"version": "1.0.0", "description": "The first one"},
                },
                {
                    "id": LATER,
                    "name": "later",
                    "description": f"Is there after {DELAY:g} seconds",
                    "maximum_polling_duration": 600,
                },
            ],
        }
    ]
}

instances = {}  # id: {"plan", "parameters", "notes", "bindings": {id: credentials}}
ready_at = {}  # the path of an instance or a binding: when its operation ends
INSTANCE = re.compile(r"/v2/service_instances/([^/]+)")
BINDING = re.compile(r"/v2/service_instances/([^/]+)/service_bindings/([^/]+)")
NOTES = re.compile(r"/notes/([^/]+)")


class Broker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes

    def handle_any(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length)
        if match := NOTES.fullmatch(url.path):
            return self.notes(match[1])
        if self.login() != (USER, PASSWORD):
            return self.answer(401, {"description": "The platform is not known here"})
        if not self.headers.get("X-Broker-API-Version", "").startswith("2."):
            return self.answer(412, {"description": "X-Broker-API-Version must be 2.x"})
        if url.path == "/v2/catalog":
            return self.answer(200, CATALOG)
        if url.path.endswith("/last_operation"):
            return self.last_operation(url.path.removesuffix("/last_operation"))
        if match := BINDING.fullmatch(url.path):
            return self.binding(*match.groups())
        if match := INSTANCE.fullmatch(url.path):
            return self.instance(match[1])
        return self.answer(404, {"description": f"There is no {url.path}"})

    do_GET = do_PUT = do_PATCH = do_DELETE = handle_any

    def instance(self, name):
        known = instances.get(name)
        wanted = json.loads(self.body or b"{}")
        if self.command == "PUT" and known is None:
            parameters = wanted.get("parameters") or {}
            instances[name] = {"plan": wanted["plan_id"], "parameters": parameters,
                               "notes": [], "bindings": {}}  # fmt: skip
            return self.begin(201, {"dashboard_url": self.address(f"/notes/{name}")})
        if self.command == "PUT":
            same = known["plan"] == wanted["plan_id"]
            return self.answer(200 if same else 409, {})
        if known is None:
            return self.answer(410 if self.command == "DELETE" else 404, {})
        if self.command == "PATCH":
            known["plan"] = wanted.get("plan_id", known["plan"])
            known["parameters"] |= wanted.get("parameters") or {}
            return self.begin(200, {})
        if self.command == "DELETE":
            plan = instances.pop(name)["plan"]
            return self.begin(200, {}, plan)
        return self.answer(200, {"plan_id": known["plan"], "parameters": known["parameters"]})

    def binding(self, instance, name):
        known = instances.get(instance)
        if known is None:
            return self.answer(410 if self.command == "DELETE" else 404, {})
        bindings = known["bindings"]
        if self.command == "PUT":
            there = name in bindings
            if not there:
                user, password = name[:8], secrets.token_hex(8)
                uri = self.address(f"/notes/{instance}", f"{user}:{password}@")
                bindings[name] = {"username": user, "password": password, "uri": uri}
            done = {"credentials": bindings[name]}
            return self.answer(200, done) if there else self.begin(201, done, known["plan"])
        if name not in bindings:
            return self.answer(410 if self.command == "DELETE" else 404, {})
        if self.command == "DELETE":
            del bindings[name]
            return self.begin(200, {}, known["plan"])
        return self.answer(200, {"credentials": bindings[name]})

    def begin(self, status, done, plan=""):
        """Answer *done* at once, or begin an operation where the plan says so."""
        path = urlsplit(self.path).path
        known = INSTANCE.match(path)
        plan = plan or instances[known[1]]["plan"]
        if plan != LATER:
            return self.answer(status, done)
        if self.query.get("accepts_incomplete") != "true":
            return self.answer(422, {"error": "AsyncRequired"})
        ready_at[path] = time.monotonic() + DELAY
        return self.answer(202, {"operation": self.command.lower()} | (
            {"dashboard_url": done["dashboard_url"]} if "dashboard_url" in done else {}
        ))  # fmt: skip

    def last_operation(self, path):
        left = ready_at.get(path, 0) - time.monotonic()
        if left > 0:
            progress = {"state": "in progress", "description": f"{left:.0f} s to go"}
            return self.answer(200, progress, {"Retry-After": str(int(left))} if left > 1 else None)
        return self.answer(200, {"state": "succeeded"})

    def notes(self, name):
        """The service itself: who is bound to it reads and writes notes."""
        known = instances.get(name)
        logins = [(one["username"], one["password"]) for one in known["bindings"].values()] if (
            known) else []  # fmt: skip
        if self.login() not in logins:
            return self.answer(401, {}, {"WWW-Authenticate": 'Basic realm="notes"'})
        if self.command == "PUT":
            known["notes"].append(self.body.decode("utf-8", "replace"))
        return self.answer(200, {"notes": known["notes"]})

    def login(self):
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return ("", "")
        return (user, password) if kind.lower() == "basic" else ("", "")

    def address(self, path, login=""):
        """A URL here, by the name that the platform calls us."""
        return f"http://{login}{self.headers['Host']}{path}"

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


port = int(os.environ["PORT"])
print(f"A broker for notes listens on port {port}", flush=True)
ThreadingHTTPServer(("0.0.0.0", port), Broker).serve_forever()
