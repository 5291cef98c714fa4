"""What all routes share: how they are declared, who asks, bodies, lists and answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, TypeVar

import msgspec
import trio
from quart import Response, g, request
from quart_trio import QuartTrio

from fake_controller.acting import Acting
from fake_controller.conditions import ALL, Condition, is_
from fake_controller.controller import Controller
from fake_controller.errors import draining, unparsable, unprocessable
from fake_controller.http.listing import Asked, Json, Listing, answer, included, page, understand
from fake_controller.http.relations import Labels, relabelled
from fake_controller.model import Job, Record
from fake_controller.policy import POLICIES
from fake_controller.tokens import Identity
from fake_controller.workers import Workers

R = TypeVar("R", bound=Record)
T = TypeVar("T")
Handler = Callable[..., Awaitable[Response]]
Register = Callable[[Handler], Handler]

MAX_JSON = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Described:
    """One route, as the documents show it."""

    method: str
    path: str  # as Quart writes it: /v3/apps/<guid>
    body: type[Any] | None
    lists: Listing[Any] | None
    takes: str  # media type of a body that the function reads by itself
    public: bool


@dataclass(frozen=True)
class Api:
    """The routes' view of the controller."""

    app: QuartTrio
    cc: Controller
    workers: Workers
    described: list[Described] = field(default_factory=list)

    def route(
        self,
        method: str,
        path: str,
        *,
        body: type[Any] | None = None,
        lists: Listing[Any] | None = None,
        takes: str = "",
        public: bool = False,
    ) -> Register:
        """Serve *method* of *path* by the function below; its name is free to choose.

        Who asks must be logged in, unless the route is *public*. With *body* the function is
        handed the request's JSON as ``wanted``; *takes* is the media type of a body that it reads
        by itself. Nothing is begun while the appliance stops.
        """

        def register(handler: Handler) -> Handler:
            @wraps(handler)
            async def serve(**params: Any) -> Response:
                if not public:
                    self.identity().must(method)
                    if method != "GET" and self.cc.kit.draining.is_set():
                        raise draining()
                if body is not None:
                    params["wanted"] = await self.body(body)
                return await handler(**params)

            self.app.add_url_rule(path, f"{method} {path}", serve, methods=[method])
            self.described.append(
                Described(
                    method=method, path=path, body=body, lists=lists, takes=takes, public=public
                )
            )
            return handler

        return register

    def get(self, path: str, *, public: bool = False) -> Register:
        """Serve GET of *path*."""
        return self.route("GET", path, public=public)

    def post(self, path: str, *, body: type[Any] | None = None, public: bool = False) -> Register:
        """Serve POST of *path*."""
        return self.route("POST", path, body=body, public=public)

    def put(self, path: str, *, body: type[Any] | None = None) -> Register:
        """Serve PUT of *path*."""
        return self.route("PUT", path, body=body)

    def patch(self, path: str, *, body: type[Any] | None = None) -> Register:
        """Serve PATCH of *path*."""
        return self.route("PATCH", path, body=body)

    def delete(self, path: str) -> Register:
        """Serve DELETE of *path*."""
        return self.route("DELETE", path)

    # What most resources have, so that none has to write it again.

    def lists(
        self, path: str, listing: Listing[Any], *, below: type[Record] | None = None, by: str = ""
    ) -> None:
        """Serve the list at *path*.

        Where *path* has a ``<guid>`` it is the guid of a record of kind *below*, and only those
        are listed that lead to it by the path *by*: ``app_guid``.
        """

        @self.route("GET", path, lists=listing)
        async def listed(guid: str = "") -> Response:
            if below is None:
                return await self.listed(listing)
            await self.read(lambda acting: acting.see(below, guid))
            return await self.listed(listing, is_(by, guid))

    def shows(self, path: str, listing: Listing[Any]) -> None:
        """Serve one record at *path*, which ends in ``<guid>``."""

        @self.route("GET", path)
        async def shown(guid: str) -> Response:
            return await self.show(listing, guid)

    def labels(self, path: str, listing: Listing[Any]) -> None:
        """Serve a PATCH at *path*, which ends in ``<guid>``, that changes labels, no more."""

        @self.route("PATCH", path, body=Labels)
        async def labelled(guid: str, wanted: Labels) -> Response:
            await self.write(
                lambda acting: acting.tx.change(
                    record := acting.change(listing.kind, guid), **relabelled(record, wanted)
                )
            )
            return await self.show(listing, guid)

    # Who asks, and for what.

    @property
    def base(self) -> str:
        """What absolute links begin with: as configured, or as the client reached us."""
        return self.cc.config.external_url or request.host_url.rstrip("/")

    def identity(self) -> Identity:
        """Who asks. Raises the 401 errors of the API."""
        known: Identity | None = g.get("identity")
        if known is None:
            known = self.cc.tokens.identity(request.headers.get("Authorization", ""))
            g.identity = known
        return known

    async def read(self, work: Callable[[Acting], T]) -> T:
        """Run *work*, which changes nothing, for who asks."""
        return await self.cc.read_as(self.identity(), work)

    async def write(self, work: Callable[[Acting], T]) -> T:
        """Run *work* for who asks, and commit, or roll all of it back when it raises."""
        return await self.cc.write_as(self.identity(), work)

    async def body(self, kind: type[T]) -> T:
        """The JSON body as a *kind*; a wrong field is 422 and named."""
        data = await request.get_data()
        if len(data) > MAX_JSON:
            raise unparsable("the request body is too large")
        try:
            return msgspec.json.decode(data or b"{}", type=kind, strict=False)
        except msgspec.ValidationError as error:
            raise unprocessable(f"{error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unparsable() from error

    # Answers.

    def json(self, value: Any, status: int = 200, headers: Mapping[str, str] = {}) -> Response:
        """A JSON answer."""
        return Response(
            json.dumps(value),
            status=status,
            headers=dict(headers),
            content_type="application/json; charset=utf-8",
        )

    def accepted(self, job: Job | str) -> Response:
        """202: poll the job, which may be given by its guid."""
        guid = job if isinstance(job, str) else job.guid
        return Response("", status=202, headers={"Location": f"{self.base}/v3/jobs/{guid}"})

    async def listed(self, listing: Listing[R], condition: Condition = ALL) -> Response:
        """One page of *listing*: what the query, *condition* and the asker's roles select."""
        query = list(request.args.items(multi=True))
        asked = understand(listing, query)
        url = f"{self.base}{request.path}"

        def work(acting: Acting) -> Json:
            seen = condition & POLICIES[listing.kind].seen(acting.access)
            return answer(acting, listing, asked, seen, url, query)

        return self.json(await self.read(work))

    async def show(self, listing: Listing[R], guid: str | None, status: int = 200) -> Response:
        """One record, or "… not found"; with what the query wants included."""
        base = self.base
        query = [(k, v) for k, v in request.args.items(multi=True) if k[:6] in ("includ", "fields")]
        asked = understand(listing, query if request.method == "GET" else [])

        def work(acting: Acting) -> Json:
            record = acting.see(listing.kind, guid)
            [shown] = listing.shown(acting, [record], base)
            if asked.includes or asked.fields:
                shown["included"] = included(acting, listing, [record], asked, base)
            return shown

        return self.json(await self.read(work), status)

    def page(self, resources: list[Json]) -> Json:
        """The envelope of a list that is no list of records, and comes on one page."""
        query = list(request.args.items(multi=True))
        asked = Asked(condition=ALL, per_page=max(len(resources), 1))
        return page(resources, len(resources), asked, f"{self.base}{request.path}", query)

    async def held(
        self,
        look: Callable[[], Awaitable[T]],
        settled: Callable[[T], bool],
        *,
        on: Literal["instances", "work"],
    ) -> T:
        """What *look* returns, after waiting a little for it to settle.

        Clients sleep for three seconds after each look that finds work in progress, so
        a short wait here is a long one spared there.
        """
        with trio.move_on_after(self.cc.config.hold):
            while True:
                changed = self.cc.actual.changed if on == "instances" else self.cc.work_changed
                seen = await look()
                if settled(seen):
                    return seen
                await changed.wait()
        return await look()
