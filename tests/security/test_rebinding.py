"""Every listener of a whole appliance but the router's goes by its own names only."""

from __future__ import annotations

import json
import shutil
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import trio

from appliance.binding import names
from appliance.boot import Running
from appliance.config import Config, ControllerConfig
from appliance.kernel.component import DiscoverComponents

from .conftest import a_person


def test_the_names_come_from_the_settings() -> None:
    """Addresses to listen on, the outer URL's host and, bound to all of them, the machine's."""
    controller = ControllerConfig(external_url="https://api.example:8443/", bind="[::]:7700")
    assert names(Config()) == {"127.0.0.1"}
    assert names(replace(Config(), controller=controller)) == {
        "127.0.0.1", "api.example", socket.gethostname(),
    }  # fmt: skip
    assert "box.lan" in names(replace(Config(), listen="box.lan"))


async def listeners(running: Running) -> dict[str, str]:
    """The base URL of everything that listens, and what it is."""
    found = running.endpoints
    urls = {found.api: "api", found.registry: "registry", found.package_cache: "package_cache"}
    urls |= dict.fromkeys(found.archivers, "archiver")
    async with running.kit.bus.request_many(DiscoverComponents.subject, b"") as answers:
        with trio.move_on_after(0.3):
            async for answer in answers:
                about = json.loads(answer.data)
                urls.setdefault(f"http://{about['host']}", about["type"])
    return urls


async def test_foreign_names_and_origins_are_refused_everywhere() -> None:
    """421 for another name, 403 for another origin; the clients that there are see neither."""
    async with a_person() as person:
        running = person.running
        urls = await listeners(running)
        assert {"api", "registry", "package_cache", "archiver", "Stager", "Router", "DEA"} <= {
            *urls.values()
        }
        for url, what in urls.items():
            port = urlsplit(url).port
            for method, path, headers, wanted in (
                ("GET", "/healthz", {"Host": f"evil.example:{port}"}, 421),
                ("POST", "/v3/apps", {"Host": "evil.example"}, 421),
                ("POST", "/v3/apps", {"Origin": "http://evil.example"}, 403),
                ("POST", "/v3/apps", {"Origin": "null"}, 403),
                ("POST", "/oauth/token", {"Sec-Fetch-Site": "cross-site"}, 403),
                ("GET", "/", {"Origin": "http://evil", "Upgrade": "websocket"}, 403),
            ):
                answer = await running.kit.http.request(method, url + path, headers=headers)
                assert answer.status == wanted, (what, method, path, headers, answer.text)
                assert not [name for name in answer.headers if name.startswith("access-control")]
        assert (await person.raw("GET", "/v3/info")).status == 200
        preflight = await person.raw(
            "OPTIONS", "/v3/apps", Origin="http://evil",
            **{"Access-Control-Request-Method": "POST"},
        )  # fmt: skip
        assert not [name for name in preflight.headers if name.startswith("access-control")]
        # The router knows hosts by what apps registered, and nothing else.
        answer = await running.kit.http.request(
            "GET", running.endpoints.apps, headers={"Host": "evil.example"}
        )
        assert answer.status == 404


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_real_clients_are_served(name: str) -> None:
    """curl, by address and by name, reading and writing."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    async with a_person() as person:
        port = urlsplit(person.running.endpoints.api).port
        done = await trio.run_process(
            ["curl", "-4", "-sS", "-d", "grant_type=password&username=admin&password=admin",
             f"http://{name}:{port}/oauth/token"],
            capture_stdout=True,
        )  # fmt: skip
        assert "access_token" in json.loads(done.stdout)
