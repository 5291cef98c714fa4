"""A route service that is an app itself: requests pass through it to the app behind."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.person import Person

from .conftest import Desk
from .test_routes import SPEAKER, map_route

#: Lets through whoever knows the word, by the headers that the router asks to have back.
GUARD = """
import http.client, http.server, os, urllib.parse
SIGNED = ("X-CF-Forwarded-Url", "X-CF-Proxy-Signature", "X-CF-Proxy-Metadata")
class Guard(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.headers["X-CF-Forwarded-Url"])
        status, body = 403, b"who are you?"
        if self.headers["X-Word"] == "please":
            onward = http.client.HTTPConnection("127.0.0.1", url.port)
            fields = {name: self.headers[name] for name in SIGNED}
            onward.request("GET", url.path, headers={"Host": url.netloc, **fields})
            answer = onward.getresponse()
            status, body = answer.status, answer.read() + b" by " + self.path.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Guard).serve_forever()
"""


async def test_requests_pass_through_an_app_that_is_a_route_service(
    desk: Desk, tmp_path: Path
) -> None:
    """From the binding on nobody reaches the app but by the guard."""
    person = Person(desk.running.endpoints.api, desk.running.kit.http)
    await person.login()
    app = await person.push("one", tmp_path, {"app.py": SPEAKER})
    await person.push("guard", tmp_path, {"app.py": GUARD})
    route = await map_route(person, [app], "guarded")
    space = (await person.call("GET", "/v3/spaces"))["resources"][0]["guid"]
    service = {
        "type": "user-provided",
        "name": "guard",
        "route_service_url": "https://guard.apps.localhost/check",
        "relationships": {"space": {"data": {"guid": space}}},
    }
    made = await person.call("POST", "/v3/service_instances", service)
    guids = {"route": route, "service_instance": made["guid"]}
    bound = {name: {"data": {"guid": guid}} for name, guid in guids.items()}
    await person.call("POST", "/v3/service_route_bindings", {"relationships": bound})
    port = desk.running.endpoints.apps.rpartition(":")[2]

    async def ask(**headers: str) -> tuple[int, str]:
        host = {"Host": f"guarded.apps.localhost:{port}"}
        url = desk.running.endpoints.apps + "/x"
        answer = await person.http.request("GET", url, headers=host | headers)
        return answer.status, answer.text

    with trio.fail_after(10):
        while (await ask())[0] != 403:
            await trio.lowlevel.checkpoint()
    assert await ask(**{"X-Word": "please"}) == (200, "one /x by /check")
    assert await ask(**{"X-CF-Proxy-Signature": "e30=", "X-CF-Proxy-Metadata": "e30="}) == (
        502,
        "502 Bad Gateway: Failed to validate Route Service Signature: "
        "it was not made by this router.\n",
    )
