"""What all routes share: who asks, bodies, filters, pages and errors."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import unquote, urlencode

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio

from fake_controller.controller import Controller
from fake_controller.deploying import Deployer
from fake_controller.errors import (
    bad_query,
    draining,
    not_authorized,
    unparsable,
    unprocessable,
)
from fake_controller.model import Job, Record
from fake_controller.running import Runner
from fake_controller.store import Tx
from fake_controller.tokens import Identity

R = TypeVar("R", bound=Record)
T = TypeVar("T")
Json = dict[str, Any]
Handler = Callable[..., Awaitable[Response]]

PER_PAGE = 50
PER_PAGE_MOST = 5000
#: Accepted on every list, as clients send them everywhere; not every one means something here.
ALWAYS = frozenset({"page", "per_page", "order_by", "include", "label_selector", "created_ats",
                    "updated_ats"})  # fmt: skip
MAX_JSON = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[R]):
    """How one resource is listed: which filters there are, and how records are shown.

    *gather* fetches what presenting a page needs besides its records, in a number of
    queries that does not grow with the page.
    """

    kind: type[R]
    filters: Mapping[str, str] = field(default_factory=dict)  # query key: field of the record
    gather: Callable[[Tx, Sequence[R]], Any] = lambda _tx, _records: None
    present: Callable[[R, str, Any], Json]
    order: str = "created_at"


@dataclass(frozen=True)
class Api:
    """The routes' view of the controller."""

    app: QuartTrio
    cc: Controller
    runner: Runner
    deployer: Deployer

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Serve *method* of *path* by the function below; its name is free to choose."""

        def register(handler: Handler) -> Handler:
            endpoint = f"{method} {path}"
            self.app.add_url_rule(path, endpoint, handler, methods=[method])
            return handler

        return register

    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Serve GET of *path*."""
        return self.route("GET", path)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Serve POST of *path*."""
        return self.route("POST", path)

    def patch(self, path: str) -> Callable[[Handler], Handler]:
        """Serve PATCH of *path*."""
        return self.route("PATCH", path)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Serve DELETE of *path*."""
        return self.route("DELETE", path)

    @property
    def base(self) -> str:
        """What absolute links begin with: as configured, or as the client reached us."""
        return self.cc.config.external_url or request.host_url.rstrip("/")

    def identity(self) -> Identity:
        """Who asks. Raises the 401 errors of the API."""
        return self.cc.tokens.identity(request.headers.get("Authorization", ""))

    def writer(self) -> Identity:
        """Who asks for a change. Raises CF-NotAuthorized for those who may only read.

        While the appliance stops, those who wait for what they began may still look; nobody
        can begin anything: CF-ServiceUnavailable.
        """
        identity = self.identity()
        if self.cc.kit.draining.is_set():
            raise draining()
        if not identity.admin:
            raise not_authorized()
        return identity

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

    def json(self, value: Any, status: int = 200, headers: Mapping[str, str] = {}) -> Response:
        """A JSON answer."""
        return Response(
            json.dumps(value),
            status=status,
            headers=dict(headers),
            content_type="application/json; charset=utf-8",
        )

    def accepted(self, job: Job) -> Response:
        """202: poll the job."""
        return Response("", status=202, headers={"Location": f"{self.base}/v3/jobs/{job.guid}"})

    async def listed(
        self, listing: Listing[R], *, ignore: Sequence[str] = (), **where: Any
    ) -> Response:
        """One page of *listing*: the query's filters and *where* must all match."""
        self.identity()
        where |= self._filters(listing, ignore)
        page, per_page = self._number("page", 1), self._number("per_page", PER_PAGE)
        order = request.args.get("order_by") or listing.order
        if order.lstrip("-") not in {"created_at", "updated_at", *listing.filters.values()}:
            raise bad_query(f"Order by can only be: 'created_at', 'updated_at', not '{order}'")

        def work(tx: Tx) -> tuple[int, list[R], Any]:
            total = tx.count(listing.kind, **where)
            records = tx.find(
                listing.kind,
                order_by=order,
                limit=per_page,
                offset=(page - 1) * per_page,
                **where,
            )
            return total, records, listing.gather(tx, records)

        total, records, gathered = await self.cc.store.read(work)
        base = self.base
        resources = [listing.present(record, base, gathered) for record in records]
        return self.json(self.page(resources, total, page, per_page))

    async def show(self, listing: Listing[R], guid: str, status: int = 200) -> Response:
        """One record, or "… not found"."""
        self.identity()

        def work(tx: Tx) -> tuple[R, Any]:
            record = tx.need(listing.kind, guid)
            return record, listing.gather(tx, [record])

        record, gathered = await self.cc.store.read(work)
        return self.json(listing.present(record, self.base, gathered), status)

    def page(
        self, resources: list[Json], total: int, page: int = 1, per_page: int = PER_PAGE
    ) -> Json:
        """The envelope of every list; ``next`` repeats all filters, as clients keep none."""
        last = max(1, -(-total // per_page))

        def href(number: int) -> Json:
            query = [
                (key, value)
                for key, value in request.args.items(multi=True)
                if key not in ("page", "per_page")
            ]
            query += [("page", str(number)), ("per_page", str(per_page))]
            return {"href": f"{self.base}{request.path}?{urlencode(query)}"}

        return {
            "pagination": {
                "total_results": total,
                "total_pages": last,
                "first": href(1),
                "last": href(last),
                "next": href(page + 1) if page < last else None,
                "previous": href(page - 1) if page > 1 else None,
            },
            "resources": resources,
        }

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

    def _filters(self, listing: Listing[R], ignore: Sequence[str]) -> dict[str, list[str]]:
        where: dict[str, list[str]] = {}
        for key, value in request.args.items():
            if name := listing.filters.get(key):
                # A comma inside a name arrives encoded twice. An empty value means "is empty".
                where[name] = [unquote(part) for part in value.split(",")]
            elif key not in ALWAYS and key not in ignore and not key.startswith("fields["):
                valid = ", ".join(sorted({*listing.filters, *ALWAYS}))
                raise bad_query(
                    f"Unknown query parameter(s): '{key}'. Valid parameters are: '{valid}'"
                )
        return where

    def _number(self, key: str, default: int) -> int:
        text = request.args.get(key)
        if text is None:
            return default
        most = PER_PAGE_MOST if key == "per_page" else 2**31
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
            rule = "must be between 1 and 5000" if key == "per_page" else "must be greater than 0"
            raise bad_query(f"{key.replace('_', ' ').capitalize()} {rule}")
        return int(text)
