"""Requests reach the right app, with a head that only the router has written."""

from __future__ import annotations

import json
import re

import pytest
import trio

from appliance.kernel.bus.local import LocalBus
from appliance.logs.messages import LogLines
from appliance.router.messages import RouterStart
from tests.router.rig import Raw, Running, free_port, ok, running, says

HOST = "app.apps.localhost"


async def test_sends_each_host_to_its_own_app_on_one_connection() -> None:
    """A kept-alive connection is routed request by request, not once."""
    async with running() as router:
        await router.app(says(ok(b"one")), "one.apps.localhost")
        await router.app(says(ok(b"two")), "two.apps.localhost")
        async with router.client() as client:
            bodies = [(await client.get(f"{n}.apps.localhost")).body for n in ("one", "two", "one")]
    assert bodies == [b"one", b"two", b"one"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    """The second request is in the same packet as the first, and still routed by itself."""
    async with running() as router:
        await router.app(says(ok(b"one")), "one.apps.localhost")
        await router.app(says(ok(b"two")), "two.apps.localhost")
        async with router.client() as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: one.apps.localhost\r\nContent-Length: 3\r\n\r\nabc"
                b"GET / HTTP/1.1\r\nHost: two.apps.localhost\r\n\r\n"
            )
            bodies = [(await client.answer()).body, (await client.answer()).body]
    assert bodies == [b"one", b"two"]


async def test_the_app_gets_a_head_of_the_routers_own() -> None:
    """Hop-by-hop fields, what Connection names and all forged identity are gone."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST, guid="app-guid", instance="inst")
        async with router.client() as client:
            await client.send(
                b"GET /p?q=1 HTTP/1.1\r\nHost: App.Apps.Localhost:7780\r\n"
                b"Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n"
                b"Keep-Alive: 5\r\n"
                b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
                b"X-Forwarded-Host: evil\r\n"
                b"X-Forwarded-Port: 1\r\nX-CF-ApplicationID: forged\r\nX-Vcap-Request-Id: no id\r\n"
                b"X-Cf-InstanceIndex: 9\r\nForwarded: for=6.6.6.6\r\nProxy: evil\r\n"
                b"X-Appliance-Room: dea\r\nCookie: a=b\r\nUser-Agent: test\r\n\r\n"
            )
            answer = await client.answer()
    lines = app.heads[0].decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:-2])
    assert lines[0] == "GET /p?q=1 HTTP/1.1"
    assert re.fullmatch(r"\d{13}", fields.pop("X-Request-Start"))
    request_id = fields.pop("X-Vcap-Request-Id")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", request_id)
    assert answer["x-vcap-request-id"] == request_id
    assert fields == {
        "Host": "App.Apps.Localhost:7780",
        "Cookie": "a=b",
        "User-Agent": "test",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "App.Apps.Localhost:7780",
        "X-Forwarded-Port": "7780",
        "X-Cf-Applicationid": "app-guid",
        "X-Cf-Instanceid": "inst",
    }


async def test_equal_heads_are_still_different_requests() -> None:
    """What is remembered of a head is what its bytes say, and nothing of who sent it."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST)
        ids = [(await router.get(HOST))["x-vcap-request-id"] for _ in range(3)]
        await router.unregister(app.port, HOST)
        gone = await router.get(HOST)
    assert len(set(ids)) == 3
    assert [id_.encode() in head for id_, head in zip(ids, app.heads, strict=True)] == [True] * 3
    assert gone.status == 404


async def test_an_id_that_looks_like_one_is_kept_and_joins_the_trace() -> None:
    """What a client asks for by id is told by the trace under that id; the rest is not told."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST)
        await router.get(HOST, "/silent")
        answer = await router.get(HOST, "/told?x=1", X_Vcap_Request_Id="my-request-0001")
        [event] = router.told("request.routed")
    assert answer["x-vcap-request-id"] == "my-request-0001"
    assert b"X-Vcap-Request-Id: my-request-0001\r\n" in app.heads[1]
    assert event.trace == "my-request-0001"
    assert event.data["path"] == "/told"
    assert event.data["status"] == 200


async def test_an_absolute_target_is_sent_on_as_a_path() -> None:
    """``GET http://host/path`` is what clients of proxies send; apps want the path."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST)
        await router.get(HOST, f"http://{HOST}/x?y")
    assert app.heads[0].startswith(b"GET /x?y HTTP/1.1\r\n")


async def test_an_unknown_host_is_404_in_gorouters_words() -> None:
    """Tools look for the header; the connection goes on."""
    async with running() as router, router.client() as client:
        first = await client.get("Nobody.apps.localhost:7780")
        second = await client.get("nobody.apps.localhost")
    assert first.status == second.status == 404
    assert first["x-cf-routererror"] == "unknown_route"
    assert first.body == (
        b"404 Not Found: Requested route ('nobody.apps.localhost') does not exist.\n"
    )


async def test_a_refused_head_request_has_no_body() -> None:
    """The next answer would begin with it otherwise."""
    async with running() as router, router.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n")
        await client.answer(no_body=True)
        again = await client.get("nobody")
    assert again.status == 404


async def test_the_longest_path_wins_at_a_segment_boundary() -> None:
    """``/shop`` has its own app; ``/shopping`` belongs to the host's."""
    async with running() as router:
        await router.app(says(ok(b"root")), HOST)
        await router.app(says(ok(b"shop")), f"{HOST}/shop")
        paths = ("/shop", "/shop/1", "/shop?a", "/shopping", "/")
        bodies = [(await router.get(HOST, path)).body for path in paths]
    assert bodies == [b"shop", b"shop", b"shop", b"root", b"root"]


async def test_turns_go_round() -> None:
    """Two instances share the requests."""
    async with running() as router:
        await router.app(says(ok(b"a")), HOST)
        await router.app(says(ok(b"b")), HOST)
        bodies = [(await router.get(HOST)).body for _ in range(4)]
    assert sorted(bodies) == [b"a", b"a", b"b", b"b"]
    assert bodies[0] != bodies[1]


async def test_the_least_loaded_instance_is_taken_when_so_set() -> None:
    """An instance that is busy gets nothing while another one is free."""
    release, entered = trio.Event(), trio.Event()

    async def slow(raw: Raw, head: bytes) -> None:
        if b"/slow" in head:
            entered.set()
            await release.wait()
        await raw.send(ok(b"slow" if b"/slow" in head else b"quick"))

    async with running(balance="least-connection") as router:
        apps = [await router.app(slow, HOST) for _ in range(2)]
        async with router.client() as client:
            await client.send(f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            await entered.wait()
            for _ in range(4):
                await router.get(HOST)
            release.set()
            await client.answer()
    assert sorted(len(app.heads) for app in apps) == [1, 4]


async def test_a_session_stays_with_the_instance_that_began_it() -> None:
    """JSESSIONID binds by __VCAP_ID__, as gorouter has it."""
    async with running() as router:
        for name in ("one", "two", "three"):
            await router.app(
                says(ok(name.encode(), "Set-Cookie: JSESSIONID=s; Path=/x; Secure")),
                HOST,
                instance=name,
            )
        first = await router.get(HOST)
        bound = first.headers["set-cookie"][1]
        cookie = f"JSESSIONID=s; __VCAP_ID__={first.body.decode()}"
        bodies = {(await router.get(HOST, Cookie=cookie)).body for _ in range(6)}
    assert bound == f"__VCAP_ID__={first.body.decode()}; Path=/; HttpOnly; Secure"
    assert bodies == {first.body}


async def test_an_instance_can_be_asked_for_by_index() -> None:
    """X-Cf-App-Instance is GUID:INDEX; one that is not there is 404, not another one."""
    async with running() as router:
        for index in ("0", "1"):
            app = await router.app(says(ok(index.encode())), "unused")
            await router.register(app.port, HOST, guid="g", index=index)
        bodies = {(await router.get(HOST, X_Cf_App_Instance="g:1")).body for _ in range(4)}
        missing = await router.get(HOST, X_Cf_App_Instance="g:7")
    assert bodies == {b"1"}
    assert missing.status == 404
    assert missing["x-cf-routererror"] == "unknown_route"


async def test_router_start_is_said_once_and_greet_is_answered() -> None:
    """DEAs register again when a router starts; late comers ask."""
    async with running() as router:
        message = await router.kit.bus.request("router.greet", b"", timeout=2)
        greeted = json.loads(message.data)
    assert greeted["minimumRegisterIntervalInSeconds"] == 20
    assert greeted["prunteThresholdInSeconds"] == 120


async def test_what_is_said_before_router_start_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The router listens before it asks: an answer to router.start always arrives."""
    order: list[str] = []
    publish, subscribe = LocalBus.publish, LocalBus.subscribe

    def noted_publish(self: LocalBus, subject: str, *args: object, **kwargs: object) -> None:
        order.append(subject)
        publish(self, subject, *args, **kwargs)  # type: ignore[arg-type]

    def noted_subscribe(self: LocalBus, subject: str, **kwargs: str):  # type: ignore[no-untyped-def]
        order.append(subject)
        return subscribe(self, subject, **kwargs)

    monkeypatch.setattr(LocalBus, "publish", noted_publish)
    monkeypatch.setattr(LocalBus, "subscribe", noted_subscribe)
    async with running():
        pass
    assert order.index("router.*") < order.index(RouterStart.subject)


async def test_an_unregistered_route_is_gone_and_the_others_stay() -> None:
    """One of two URIs is withdrawn."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST, "other.apps.localhost")
        await router.unregister(app.port, HOST)
        statuses = [(await router.get(h)).status for h in (HOST, "other.apps.localhost")]
    assert statuses == [404, 200]


async def test_a_route_that_nobody_repeats_is_pruned() -> None:
    """A DEA that died cannot unregister."""
    async with running(stale_after=0.2) as router:
        await router.app(says(ok(b"")), HOST)
        before = (await router.get(HOST)).status
        await router.tells("route.pruned")
        after = (await router.get(HOST)).status
    assert (before, after) == (200, 404)


async def test_a_bad_registration_harms_nobody() -> None:
    """Not JSON, no host, an impossible port: refused, told, and the next one is heard."""
    async with running() as router:
        for data in (b"{", b'{"host": "x"}', b'{"host": "x", "port": 0, "uris": ["y"]}'):
            router.kit.bus.publish("router.register", data)
        await router.app(says(ok(b"")), HOST)
        status = (await router.get(HOST)).status
    assert status == 200
    assert len(router.told("message.refused")) == 2
    assert len(router.told("route.refused")) == 1


async def test_access_lines_reach_the_apps_log_in_gorouters_format() -> None:
    """One line per request, and none for apps that are not known by guid."""
    async with running() as router, router.kit.bus.subscribe("logs.lines.>") as heard:
        app = await router.app(says(ok(b"hello")), HOST, guid="g-1", instance="i-1")
        await router.app(says(ok(b"")), "other.apps.localhost")
        await router.get("other.apps.localhost")
        await router.get(HOST, "/x?y=1", User_Agent='quoted "agent"', Referer="http://r/")
        message = await heard.receive()
    batch = json.loads(message.data)
    [line] = batch["lines"]
    assert (message.subject, batch["source"]) == ("logs.lines.g-1", "g-1")
    assert line["source_type"] == "RTR"
    pattern = (
        rf"{HOST} - \[\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{9}}Z\] "
        r'"GET /x\?y=1 HTTP/1\.1" 200 0 5 "http://r/" "quoted \\"agent\\"" '
        rf'"127\.0\.0\.1:\d+" "127\.0\.0\.1:{app.port}" '
        r'x_forwarded_for:"127\.0\.0\.1" x_forwarded_proto:"http" vcap_request_id:"[0-9a-f-]{36}" '
        r"response_time:\d\.\d{6} gorouter_time:\d\.\d{6} "
        r'app_id:"g-1" app_index:"-" instance_id:"i-1" x_cf_routererror:"-"'
    )
    assert re.fullmatch(pattern, line["text"])


async def test_a_flood_of_requests_does_not_flood_the_log() -> None:
    """What is above the limit of a batch is counted in one line."""
    async with running() as router, router.kit.subscribe(LogLines) as heard:
        await router.app(says(ok(b"")), HOST, guid="g")
        request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        texts: list[str] = []
        async with router.client() as client:
            while not any("too quickly" in text for text in texts):
                await client.send(request * 600)
                for _ in range(600):
                    await client.answer()
                with trio.move_on_after(0.5):
                    async for batch in heard:
                        texts += [line.text for line in batch.body.lines]
                        if "too quickly" in texts[-1]:
                            break
    assert re.match(r"\d+ requests were answered too quickly", texts[-1])


async def test_both_loopback_addresses_answer() -> None:
    """Resolvers give ::1 for ``*.localhost`` first."""
    async with running() as router:
        try:
            stream = await trio.open_tcp_stream("::1", router.port)
        except OSError:
            pytest.skip("this machine has no ::1")
        await router.app(says(ok(b"six")), HOST)
        async with stream:
            answer = await Raw(stream).get(HOST)
    assert answer.body == b"six"


async def test_figures_and_routes_are_told_to_who_has_the_credentials() -> None:
    """/varz counts; /routes lists as gorouter does."""
    async with running() as router:
        app = await router.app(says(ok(b"")), HOST, guid="g", instance="i")
        await router.get(HOST)
        await router.get("nobody")
        discovered = await router.kit.bus.request("vcap.component.discover", b"", timeout=2)
        me = json.loads(discovered.data)
        url = f"http://{':'.join(me['credentials'])}@{me['host']}"
        varz = (await router.kit.http.request("GET", f"{url}/varz")).json()
        routes = (await router.kit.http.request("GET", f"{url}/routes")).json()
        refused = await router.kit.http.request("GET", f"http://{me['host']}/routes")
    assert me["type"] == "Router"
    assert (varz["requests"], varz["bad_requests"], varz["urls"], varz["droplets"]) == (2, 1, 1, 1)
    assert (varz["responses_2xx"], varz["responses_4xx"]) == (1, 1)
    [endpoint] = routes[HOST]
    assert endpoint["address"] == f"127.0.0.1:{app.port}"
    assert 110 < endpoint["ttl"] <= 120
    assert refused.status == 401


async def test_connections_in_flight_are_answered_when_the_router_stops() -> None:
    """Idle ones close at once; no new ones are taken."""
    entered, release = trio.Event(), trio.Event()

    async def slow(raw: Raw, head: bytes) -> None:
        entered.set()
        await release.wait()
        await raw.send(ok(b"late"))

    async def stop(router: Running) -> None:
        router.kit.stopping.set()

    async with running() as router:
        await router.app(slow, HOST)
        async with router.client() as idle, router.client() as busy:
            await busy.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            await entered.wait()
            await stop(router)
            ended = await idle.rest()
            with pytest.raises(OSError, match=r"."):
                await trio.open_tcp_stream("127.0.0.1", router.port)
            release.set()
            answer = await busy.answer()
            after = await busy.rest()
    assert (ended, answer.body, after) == (b"", b"late", b"")


async def test_listens_on_sockets_that_are_already_open() -> None:
    """``fd://N``: the start binds early, before anything heavy is loaded."""
    port = free_port()
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", port))
    listener.listen()
    async with running(bind=f"fd://{listener.detach()}") as router:
        await router.app(says(ok(b"fd")), HOST)
        answer = await router.get(HOST)
    assert router.port == port
    assert answer.body == b"fd"
