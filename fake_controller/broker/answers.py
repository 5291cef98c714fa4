"""What a broker's answers mean. Pure: status, headers and body in, a fact or an error out.

Source: Open Service Broker API 2.15; sentences of Cloud Controller.
"""

from __future__ import annotations

import http
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from appliance.kernel.http.client import Response
from fake_controller.broker.errors import (
    BrokerError,
    Concurrency,
    malformed,
    quoted,
    refused_in_time,
    unauthorized,
)

T = TypeVar("T")
OPERATION_MOST = 10_000  # characters of a broker's name for an operation
NO_OBJECT = (
    "The service broker returned an invalid response: expected valid JSON object in body. "
    "Please check that the URL points to a valid service broker."
)
STATES = ("in progress", "succeeded", "failed")
DEPTH_MOST = 100  # objects and arrays in each other
RETRY_MOST = 24 * 3600  # seconds; a broker that asks for a longer pause is asked sooner


class Made(msgspec.Struct):
    """The answer to provisioning or updating an instance."""

    dashboard_url: str | None = None
    operation: str | None = None
    metadata: dict[str, Any] | None = None


class Removed(msgspec.Struct):
    """The answer to deleting an instance or a binding."""

    operation: str | None = None


class Device(msgspec.Struct):
    """What a volume is mounted from."""

    volume_id: str
    mount_config: dict[str, Any] | None = None


class Mount(msgspec.Struct):
    """A volume for an app."""

    driver: str
    container_dir: str
    mode: str
    device_type: str
    device: Device


class Bound(msgspec.Struct):
    """The answer to a binding, or what a broker tells of one when it is asked."""

    credentials: dict[str, Any] | None = None
    syslog_drain_url: str | None = None
    route_service_url: str | None = None
    volume_mounts: list[Mount] | None = None
    operation: str | None = None
    parameters: dict[str, Any] | None = None


class Instance(msgspec.Struct):
    """What a broker tells of an instance when it is asked."""

    dashboard_url: str | None = None
    parameters: dict[str, Any] | None = None


class _Progress(msgspec.Struct):
    state: str
    description: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How an operation that goes on at the broker stands."""

    state: str  # in progress, succeeded, failed
    description: str | None = None
    retry_after: float | None = None  # seconds until it should be asked again


def provisioned(answer: Response) -> tuple[Made, bool]:
    """What was made, and whether the broker goes on with it."""
    if answer.status in (200, 201, 202):
        return _decoded(answer, Made), answer.status == 202
    raise _refused(answer, "AsyncRequired", "ConcurrencyError", "MaintenanceInfoConflict")


def updated(answer: Response) -> tuple[Made, bool]:
    """What was changed, and whether the broker goes on with it."""
    if answer.status in (200, 202):
        return _decoded(answer, Made), answer.status == 202
    raise _refused(answer, "AsyncRequired", "ConcurrencyError", "MaintenanceInfoConflict")


def bound(answer: Response) -> tuple[Bound, bool]:
    """What a binding gives, and whether the broker goes on with it."""
    if answer.status in (200, 201, 202):
        return _decoded(answer, Bound), answer.status == 202
    raise _refused(answer, "RequiresApp", "AsyncRequired", "ConcurrencyError")


def removed(answer: Response) -> tuple[Removed, bool]:
    """That it is gone, and whether the broker goes on with it; what is not there is gone."""
    if answer.status == 410:
        return Removed(), False
    if answer.status in (200, 202):
        return _decoded(answer, Removed), answer.status == 202
    raise _refused(answer, "AsyncRequired", "ConcurrencyError")


def progress(answer: Response, *, deleting: bool) -> Progress:
    """How an operation stands. What is gone has been deleted, if that was what was asked."""
    retry_after = _retry_after(answer)
    if answer.status == 410:
        return Progress(state="succeeded" if deleting else "in progress", retry_after=retry_after)
    if answer.status == 400:
        said = _said(answer).get("description")
        why = quoted(said) if isinstance(said, str) else "Bad request"
        return Progress(state="failed", description=why)
    if answer.status != 200:
        raise _refused(answer)
    told = _decoded(answer, _Progress)
    if told.state not in STATES:
        raise malformed(f"expected state was 'succeeded', broker returned '{told.state}'.")
    description = None if told.description is None else quoted(told.description)
    return Progress(state=told.state, description=description, retry_after=retry_after)


def fetched(answer: Response, kind: type[T]) -> T:
    """What a broker tells of an instance or a binding."""
    if answer.status == 200:
        return _decoded(answer, kind)
    raise _refused(answer)


def listed(answer: Response) -> dict[str, Any]:
    """A catalogue, not yet judged. Whatever is wrong, the address may be that of no broker."""
    if answer.status == 200:
        if _json(answer) is None:
            raise BrokerError("ServiceBrokerRequestMalformed", NO_OBJECT, number=270021)
        return _decoded(answer, dict[str, Any])
    error = _refused(answer)
    if error.title == "CF-ServiceBrokerRequestRejected":
        text = (
            f"The service broker rejected the request. Status Code: {_line(answer.status)}. "
            "Please check that the URL points to a valid service broker."
        )
        raise BrokerError("ServiceBrokerRequestRejected", text, number=270020)
    raise error


def _decoded(answer: Response, kind: type[T]) -> T:
    # A broker that answers 200 has had it before; any other success has just made it.
    orphan = answer.status != 200
    found = _json(answer)
    if found is None:
        text = quoted(answer.text)
        raise malformed(
            f"expected valid JSON object in body, broker returned '{text}'", orphan=orphan
        )
    if _too_deep(found):
        raise malformed(f"the body is nested deeper than {DEPTH_MOST} levels", orphan=orphan)
    operation = found.get("operation")
    if isinstance(operation, str) and len(operation) > OPERATION_MOST:
        raise malformed(f"operation is longer than {OPERATION_MOST} characters", orphan=orphan)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise malformed(f"{error}", orphan=orphan) from None


def _too_deep(value: Any) -> bool:
    """Whether it would end a recursion that comes after this one."""
    level = [value]
    for _ in range(DEPTH_MOST):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


#: What a 422 may be about, by the specification: title and sentence.
_KNOWN = {
    "RequiresApp": (
        "AppRequired",
        "This service supports generation of credentials through binding an application only.",
    ),
    "AsyncRequired": (
        "AsyncRequired",
        "This service plan requires client support for asynchronous service operations.",
    ),
}


def _refused(answer: Response, *known: str) -> BrokerError:
    """The error that *answer*, no success, is; *known* are the 422s that may be explained."""
    said, status = _said(answer), answer.status
    if status == 401:
        return unauthorized()
    if status == 408:
        return refused_in_time()
    described = said.get("description")
    if status == 409:
        text = f"Service broker error: {described}" if described else "Resource conflict"
        return BrokerError("ServiceBrokerConflict", quoted(text), http=409)
    if status == 422 and said.get("error") in known:
        return _explained(str(said["error"]), described)
    if 400 <= status < 500 and status not in (410, 422):
        return _own_words(answer, described, "rejected the request.", "RequestRejected")
    return _own_words(
        answer, described, "returned an invalid response.", "BadResponse", orphan=True
    )


def _explained(error: str, described: object) -> BrokerError:
    if error == "ConcurrencyError":
        return Concurrency()
    if error == "MaintenanceInfoConflict":
        text = (
            f"Service broker error: {described}"
            if isinstance(described, str) and described.strip()
            else "The service broker did not provide a reason for this conflict, please ensure "
            "the catalog is up to date and you are providing a version supported by this "
            "service plan"
        )
        return BrokerError("MaintenanceInfoConflict", quoted(text), http=422)
    title, text = _KNOWN[error]
    return BrokerError(title, text, http=400)


def _own_words(
    answer: Response, described: object, what: str, title: str, *, orphan: bool = False
) -> BrokerError:
    # What is no error at all, such as a 201 to a deletion, describes something else.
    if described is not None and answer.status >= 400:
        text = f"Service broker error: {described}"
    else:
        text = f"The service broker {what} Status Code: {_line(answer.status)}, Body: {answer.text}"
    return BrokerError(f"ServiceBroker{title}", quoted(text), orphan=orphan)


def _line(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _said(answer: Response) -> dict[str, Any]:
    """The JSON object of an error, or nothing."""
    return _json(answer) or {}


def _json(answer: Response) -> dict[str, Any] | None:
    """The JSON object of *answer*, if it is one: such as can be stored and shown as it is."""
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _retry_after(answer: Response) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if not text.isascii() or not text.isdigit():
        return None  # none, or a date: the usual pause will do
    return float(min(int(text[:9]), RETRY_MOST))
