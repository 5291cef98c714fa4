"""Routes from the API to the router: wildcards, paths, several apps on one, and options."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import trio

from tests.person import Person

from .conftest import Desk

SPEAKER = """
import http.server, json, os
NAME = json.loads(os.environ["VCAP_APPLICATION"])["application_name"]
class Speaker(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{NAME} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Speaker).serve_forever()
"""


async def map_route(person: Person, apps: list[str], host: str, **more: Any) -> str:
    """A new route in the first domain that leads to *apps*; its guid."""
    space = (await person.call("GET", "/v3/spaces"))["resources"][0]["guid"]
    domain = (await person.call("GET", "/v3/domains"))["resources"][0]["guid"]
    places = {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain}}}
    body = {"host": host, "relationships": places, **more}
    route = str((await person.call("POST", "/v3/routes", body))["guid"])
    destinations = {"destinations": [{"app": {"guid": app}} for app in apps]}
    await person.call("POST", f"/v3/routes/{route}/destinations", destinations)
    return route


async def test_every_kind_of_route_leads_where_it_says(desk: Desk, tmp_path: Path) -> None:
    """The most exact name wins; two apps share a route as its options say."""
    person = Person(desk.running.endpoints.api, desk.running.kit.http)
    await person.login()
    one = await person.push("one", tmp_path, {"app.py": SPEAKER})
    two = await person.push("two", tmp_path, {"app.py": SPEAKER})
    by_user = {"loadbalancing": "hash", "hash_header": "X-User"}
    await map_route(person, [one], "*")
    await map_route(person, [two], "*", path="/deep/er")
    shared = await map_route(person, [one, two], "shared", options=by_user)

    async def ask(host: str, path: str = "/", **headers: str) -> str:
        answer = await person.http.request(
            "GET",
            desk.running.endpoints.apps + path,
            headers={"Host": f"{host}.apps.localhost"} | headers,
        )
        return answer.text

    async def until(host: str, path: str, text: str) -> None:
        with trio.fail_after(10):
            while await ask(host, path) != text:
                await trio.lowlevel.checkpoint()

    await until("anything", "/x?y=1", "one /x?y=1")
    await until("anything", "/deep/er/z", "two /deep/er/z")
    assert await ask("a.b", "/deep/erz") == "one /deep/erz"
    assert await ask("two", "/") == "two /"

    seen: set[str] = set()
    with trio.fail_after(10):
        while len(seen) < 2:
            seen.add(await ask("shared"))
    hashed = {
        name: {await ask("shared", **{"X-User": name}) for _ in range(4)} for name in "abcdef"
    }
    assert all(len(answers) == 1 for answers in hashed.values())
    turns = {"options": {"loadbalancing": "round-robin"}}
    await person.call("PATCH", f"/v3/routes/{shared}", turns)
    with trio.fail_after(10):
        while len({await ask("shared", **{"X-User": "a"}) for _ in range(2)}) == 1:
            await trio.lowlevel.checkpoint()
    spread = Counter([await ask("shared", **{"X-User": "a"}) for _ in range(6)])
    assert spread == {"one /": 3, "two /": 3}
