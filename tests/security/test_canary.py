"""A secret in every input there is, and a look at everything that leaves the appliance."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.boot import anywhere
from appliance.config import ArchiverConfig, Config, ControllerConfig
from appliance.dea.messages import DropletExited, Limits, Start
from appliance.kernel.component import DiscoverComponents
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.auth import basic_header
from appliance.kernel.trace import Event
from appliance.stager.messages import StagingRequest
from tests.person import PUSH

from .conftest import Visitor, a_person

#: One per input, so that a failure names the input.
ENV, ARCHIVER, STAGING, BULK, ADMIN, REGISTRY, SERVICE, URL, HEADER, TEXT, NATS = (
    f"canary-{name}-b3f19c"
    for name in ("env", "archiver", "staging", "bulk", "admin", "registry", "service", "url",
                 "header", "text", "nats")
)  # fmt: skip
CANARIES = (ENV, ARCHIVER, STAGING, BULK, ADMIN, REGISTRY, SERVICE, URL, HEADER, TEXT, NATS)


def leaks(text: str, more: tuple[str, ...] = ()) -> list[str]:
    """The canaries that *text* has, as they are or in Base64."""
    encoded = {
        b64encode(bytes(shift) + canary.encode())[4 * bool(shift) : -4].decode(): canary
        for canary in CANARIES
        for shift in range(3)
    }
    found = [canary for canary in (*CANARIES, *more) if canary in text]
    return found + [canary for form, canary in encoded.items() if form in text]


def secrets(config: Config) -> Config:
    """*config* with a canary for every password."""
    return replace(
        config,
        controller=replace(
            config.controller,
            password=ADMIN,
            staging_password=STAGING,
            bulk_password=BULK,
            registry_password=REGISTRY,
        ),
        archiver=replace(config.archiver, password=ARCHIVER),
        nats=replace(config.nats, user="watcher", password=NATS),
    )


class CommandLines:
    """Every command line seen of a child of this process, at any depth."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await trio.sleep(0.002)

    def look(self) -> None:
        """Note the command lines of now."""
        for pid in _below(os.getpid()):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            self.seen.add(words.replace(b"\0", b" ").decode("utf-8", "replace"))


def _below(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        children = [Path(f"/proc/{pid}/task/{tid}/children").read_text() for tid in threads]
    except OSError:
        return
    for child in " ".join(children).split():
        yield int(child)
        yield from _below(int(child))


def crashing_start(dea: str) -> Start:
    """An order whose droplet cannot be fetched, with secrets wherever an order has room."""
    return Start(
        droplet="canary-droplet",
        index=0,
        name="canary",
        version="0-0",
        sha1="0" * 40,
        executableFile="",
        executableUri=f"http://archiver:{ARCHIVER}@127.0.0.1:1/droplets/x/{'0' * 40}",
        executableUris=[f"http://:{URL}@127.0.0.1:1/"],
        services=[{"label": "db", "name": "db", "credentials": {"uri": f"pg://u:{SERVICE}@h/"}}],
        env=[f"DATABASE_URL={ENV}"],
        limits=Limits(mem=16),
    )


async def everything_goes_wrong(person: Visitor) -> None:
    """Inputs that end in errors, each with a secret in it."""
    kit = person.running.kit
    for url in (f"http://u:{URL}@127.0.0.1:1/", f"http://{URL}@127.0.0.1:1/"):
        with pytest.raises(ApplianceError) as refused:
            await kit.http.request("GET", url)
        assert not leaks(str(refused.value))
        kit.trace.event("thing.failed", why=str(refused.value), url=url)
    for authorization in (f"Basic {HEADER}", f"bearer eyJ0.{HEADER}.x", f"{HEADER}", "bearer"):
        answer = await person.raw("GET", "/v3/apps", Authorization=authorization)
        assert answer.status == 401
        assert not leaks(answer.text)
    await person.raw("POST", f"/oauth/token?grant_type=password&username=x&password={TEXT}")
    await person.raw("POST", "/v3/apps", {"name": {"password": TEXT}})
    await person.raw("GET", f"/nothing?token={TEXT}", Cookie=f"session={HEADER}")
    # Messages that are none of what their subject wants.
    for subject in ("staging", "dea.stop", "droplet.exited", "router.register"):
        kit.bus.publish(subject, json.dumps({"password": TEXT, "env": [f"A={ENV}"]}).encode())
        kit.bus.publish(subject, f"token={TEXT}".encode())
    request = {"app_id": "x", "download_uri": f"http://staging:{STAGING}@127.0.0.1:1/",
               "upload_uri": f"http://staging:{STAGING}@127.0.0.1:1/",
               "properties": {"environment": [f"SECRET={ENV}"],
                              "services": [{"credentials": {"password": SERVICE}}]}}  # fmt: skip
    reply = await kit.bus.request(StagingRequest.subject, json.dumps(request).encode(), timeout=10)
    assert not leaks(reply.data.decode())
    assert b"error" in reply.data
    async with kit.subscribe(DropletExited) as exits:
        hello = await kit.bus.request(
            "dea.discover", b'{"droplet": "x", "limits": {"mem": 16}}', timeout=5
        )
        dea = str(json.loads(hello.data)["id"])
        kit.publish(crashing_start(dea), subject=f"dea.{dea}.start")
        with trio.fail_after(10):
            async for exited in exits:
                if exited.body.droplet == "canary-droplet":
                    break
    assert not leaks(exited.body.exit_description or "")


async def documents(person: Visitor) -> dict[str, str]:
    """What every component shows of itself."""
    kit, shown = person.running.kit, {}
    async with kit.bus.request_many(DiscoverComponents.subject, b"") as answers:
        with trio.move_on_after(0.5):
            async for answer in answers:
                found = json.loads(answer.data)
                login = {"Authorization": basic_header(*found["credentials"])}
                for path in ("/varz", "/healthz", "/routes"):
                    got = await kit.http.request(
                        "GET", f"http://{found['host']}{path}", headers=login
                    )
                    shown[f"{found['type']} {found['host']}{path}"] = got.text
    return shown


async def test_no_secret_leaves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sinks, trace endpoint, command lines, /varz and our own output: no canary in any of them."""
    seen: list[Event] = []
    lines = CommandLines()
    config = secrets(anywhere(Config(state=tmp_path / "state")))
    async with a_person(config, sinks=[seen.append], password=ADMIN) as person:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lines.watch)
            env = {"DATABASE_URL": f"postgres://u:{ENV}@db/x", "MY_SETTING": ENV}
            app = await person.push("canary", tmp_path, env=env)
            await everything_goes_wrong(person)
            nursery.cancel_scope.cancel()
        shown = await documents(person)
        trace = await person.raw("GET", f"/_appliance/trace?trace={PUSH}")
        info = await person.raw("GET", "/_appliance/info")
        ready = await person.raw("GET", "/readyz")
        logged = await person.raw("GET", f"/api/v1/read/{app}?limit=1000&envelope_types=LOG")
    token = (person.token,)

    assert {event.what for event in seen} >= {
        "push.started", "staging.finished", "droplet.delivered", "thing.failed", "message.refused",
        "instance.crashed",
    }  # fmt: skip
    for event in seen:
        assert not leaks(f"{event.room} {event.what} {event.data} {event}", token), event
    assert len(trace.json()["events"]) > 10
    for text in (trace.text, info.text, ready.text, logged.text):
        assert not leaks(text, token)
    kinds = {name.partition(" ")[0] for name in shown}
    assert kinds >= {"Stager", "DEA", "Router", "Archiver", "Registry", "PackageCache"}
    for name, text in shown.items():
        assert not leaks(text, token), name
    assert any("app.py" in line for line in lines.seen), lines.seen
    for line in lines.seen:
        assert not leaks(line, token), line
    printed = capfd.readouterr()
    assert not leaks(printed.out + printed.err, token)


def test_the_look_finds_what_is_there() -> None:
    """The search itself works: plain, and in Base64 at any offset."""
    assert leaks(f"x {ENV} y") == [ENV]
    for login in ("u", "us", "use"):
        encoded = b64encode(f"{login}:{STAGING}".encode()).decode()
        assert STAGING in leaks(f"Basic {encoded}"), b64decode(encoded)
    assert leaks("canary") == []


async def test_keys_are_made_for_each_installation() -> None:
    """Two appliances share no password, key or token, whatever they were configured with."""

    async def secrets_of() -> tuple[Any, ...]:
        async with a_person() as person:
            bulk = await person.running.kit.bus.request(
                "cloudcontroller.bulk.credentials.default", b"{}", timeout=5
            )
            return person.token, json.loads(bulk.data)["password"]

    first, second = await secrets_of(), await secrets_of()
    assert not {*first} & {*second}
    for config in (ControllerConfig(), ArchiverConfig()):
        made = [getattr(config, name) for name in dir(config) if name.endswith("_password")]
        assert set(made) <= {""}, "a password that every installation has"
