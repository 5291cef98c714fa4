"""cf 8.18 on the wire: its headers, its encoding of queries, and how it waits."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from .reads import Job
from .rules import Answer, check

T = TypeVar("T")

AGENT = "cf/8.18.4+3fcd823a1.2026-06-29 (go1.26.6; amd64 linux)"
BASIC = "Basic Y2Y6"  # client "cf", no secret
LOOKS = 3  # at a job; the CLI sleeps three seconds between two


@dataclass
class Wire:
    """One connection that is kept, as Go's client keeps it."""

    base: str
    connection: HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection(urlsplit(self.base).netloc, timeout=30)

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """One request; *headers* are all that is sent, besides Host and Content-Length."""
        own = "Host" in headers
        self.connection.putrequest(method, target, skip_host=own, skip_accept_encoding=True)
        if body or method in ("POST", "PUT", "PATCH"):
            headers = {"Content-Length": str(len(body))} | headers
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders(body)
        answer = self.connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


@dataclass
class Cf:
    """One user's CLI: logged in with *token*, with an organization and a space targeted."""

    wire: Wire
    token: str = ""
    org: str = ""
    space: str = ""
    name: str = ""  # of nothing else in this installation: for hosts, users and the like

    @property
    def base(self) -> str:
        """The API's URL."""
        return self.wire.base

    # Any call.

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        status: int | None = None,
    ) -> Answer:
        """One call with the headers that cf sends; its answer keeps the rules of all answers.

        The query of *path* is written as people read it, and sorted and encoded as Go does.
        A *body* that is no bytes goes as JSON.
        """
        data = body if isinstance(body, bytes) else b"" if body is None else _json(body)
        headers = {
            "User-Agent": AGENT,
            "Accept": "application/json",
            "Content-Type": kind,
            "X-B3-TraceId": uuid.uuid4().hex,
            "X-B3-SpanId": uuid.uuid4().hex[:16],
            "Accept-Encoding": "gzip",
        }
        if self.token:
            headers["Authorization"] = f"bearer {self.token}"
        # A link that came from the server is followed as it is.
        linked = path.startswith(self.base)
        target = path.removeprefix(self.base) if linked else encoded(path)
        answer = self.wire.send(method, target, headers, data)
        if target.startswith("/v3"):
            check(answer, self.base)
        if status is not None:
            assert answer.status == status, (method, path, answer.status, answer.body)
        return answer

    def call(self, method: str, path: str, body: Any, status: int, as_: type[T]) -> T:
        """One call whose JSON is read as the CLI reads it."""
        return msgspec.convert(self.send(method, path, body, status=status).json, as_)

    def get(self, path: str, as_: type[T]) -> T:
        """200, and what the CLI reads of it."""
        return self.call("GET", path, None, 200, as_)

    def post(self, path: str, body: Any, as_: type[T], status: int = 201) -> T:
        """201 where something was made."""
        return self.call("POST", path, body, status, as_)

    def patch(self, path: str, body: Any, as_: type[T]) -> T:
        """200, and the thing as it is now."""
        return self.call("PATCH", path, body, 200, as_)

    def list(self, path: str, as_: type[T]) -> list[T]:
        """Everything that a list has; ``next`` is followed unless one page was asked for."""
        found: list[T] = []
        alone = "page=" in path.replace("per_page=", "")
        while path:
            shown = self.send("GET", path, status=200).json
            found += msgspec.convert(shown["resources"], list[as_])  # type: ignore[valid-type]
            path = "" if alone else (shown["pagination"]["next"] or {}).get("href", "")
        return found

    def one(self, path: str, as_: type[T]) -> T:
        """The one thing that a list has."""
        [found] = self.list(path, as_)
        return found

    def gone(self, path: str) -> None:
        """DELETE that is done at once: 204, no body."""
        answer = self.send("DELETE", path, status=204)
        assert not answer.location

    def deleted(self, path: str, operation: str) -> None:
        """DELETE: 202, no body, and a job that does *operation*."""
        self.begun("DELETE", path, operation)

    def begun(self, method: str, path: str, operation: str, body: Any = None) -> None:
        """202, no body, and a job that does *operation*."""
        answer = self.send(method, path, body, status=202)
        assert not answer.body
        self.done(answer, operation)

    def done(self, answer: Answer, operation: str = "") -> Job:
        """Poll the job of *answer* as long as somebody would wait; it succeeds."""
        job = self.ended(answer)
        assert job.state == "COMPLETE", job
        assert job.operation == (operation or job.operation)
        return job

    def ended(self, answer: Answer) -> Job:
        """Poll the job of *answer* until it has ended."""
        assert answer.location.startswith(f"{self.base}/v3/jobs/")
        for _ in range(LOOKS):
            job = self.get(answer.location, Job)
            if job.state in ("COMPLETE", "FAILED"):
                return job
        raise AssertionError(f"{job} is not done after {LOOKS} looks")

    def refused(
        self, method: str, path: str, body: Any = None, *, status: int = 422, title: str = ""
    ) -> str:
        """The one error's detail, which is all that people are shown."""
        [error] = self.send(method, path, body, status=status).json["errors"]
        assert error["title"] == (title or error["title"])
        return str(error["detail"])

    def form(self, path: str, *parts: Part) -> Answer:
        """A multipart upload with its length, as the CLI sends it."""
        boundary = uuid.uuid4().hex
        lines = b"".join(
            b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), part.head, part.data)
            for part in parts
        )
        body = lines + f"--{boundary}--\r\n".encode()
        return self.send("POST", path, body, kind=f"multipart/form-data; boundary={boundary}")


def grant(cf: Cf, *, basic: bool = True, **form: str) -> Answer:
    """``POST /oauth/token`` with the headers of cf."""
    headers = {
        "User-Agent": AGENT,
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    if basic:
        headers["Authorization"] = BASIC
    return cf.wire.send("POST", "/oauth/token", headers, urlencode(form).encode())


@dataclass(frozen=True)
class Part:
    """One part of a form; with a file name it is a file."""

    name: str
    data: bytes
    file: str = ""

    @property
    def head(self) -> bytes:
        """Its headers."""
        text = f'Content-Disposition: form-data; name="{self.name}"'
        if self.file:
            text += f'; filename="{self.file}"\r\nContent-Type: application/octet-stream'
        return text.encode()


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def encoded(path: str) -> str:
    """*path* with its query as Go's ``url.Values`` writes it: sorted, every byte escaped."""
    where, _, query = path.partition("?")
    if not query:
        return path
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return f"{where}?" + "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
