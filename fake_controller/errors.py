"""Cloud Controller's own errors: status, code, title and text as its clients know them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from appliance.kernel.errors import ApplianceError


class CloudError(ApplianceError):
    """An answer in Cloud Controller's error form. Clients compare *detail* letter by letter."""

    def __init__(self, http: int, number: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.http = http
        self.number = number
        self.title = title


class LegacyError(CloudError):
    """An error as the controller of 2012 wrote it: ``{"code", "description"}``."""


class OldApiError(CloudError):
    """For version 2 of the API, which is not there: in its form, too, for those that ask for it."""

    description = "There is no version 2 of the API here. Use version 8 of the cf CLI."


class UaaError(CloudError):
    """An error as UAA writes it: ``{"error", "error_description"}``."""

    def __init__(self, http: int, error: str, description: str) -> None:
        super().__init__(http, 0, error, description)


class CloudErrors(ApplianceError):
    """Several errors in one answer; its status is that of the first."""

    def __init__(self, errors: Sequence[CloudError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


def unprocessable(detail: str) -> CloudError:
    """422: the request was understood, and is wrong."""
    return CloudError(422, 10008, "CF-UnprocessableEntity", detail)


def not_unique(detail: str) -> CloudError:
    """422: a new app has the name of another; whatever else is taken is `unprocessable`."""
    return CloudError(422, 10016, "CF-UniquenessError", detail)


def missing(what: str) -> CloudError:
    """404: *what* is "App", "Droplet", …; the CLI knows the sentence."""
    return CloudError(404, 10010, "CF-ResourceNotFound", f"{what} not found")


def unknown_request(path: str = "") -> CloudError:
    """404 for a *path* that does not exist."""
    kind = OldApiError if path.startswith("/v2/") else CloudError
    return kind(404, 10000, "CF-NotFound", "Unknown request")


def draining() -> CloudError:
    """503: the process is about to end, and begins nothing new."""
    return CloudError(503, 10015, "CF-ServiceUnavailable", "The appliance is stopping.")


def not_authenticated() -> CloudError:
    """401: no Authorization header."""
    return CloudError(401, 10002, "CF-NotAuthenticated", "Authentication error")


def invalid_token() -> CloudError:
    """401: expired, forged or foreign; Python's client refreshes on exactly this."""
    return CloudError(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token")


def not_authorized() -> CloudError:
    """403: known, but not allowed."""
    return CloudError(
        403, 10003, "CF-NotAuthorized", "You are not authorized to perform the requested action"
    )


def organization_suspended() -> CloudError:
    """403: only administrators change what is in a suspended organization."""
    return CloudError(403, 10017, "CF-OrgSuspended", "The organization is suspended")


def feature_disabled(flag: str) -> CloudError:
    """403: *flag* is off; an administrator may have given another text for it."""
    return CloudError(403, 330002, "CF-FeatureDisabled", f"Feature Disabled: {flag}")


def unparsable(why: str = "invalid request body") -> CloudError:
    """400: the body is not what its content type says."""
    return CloudError(
        400, 1001, "CF-MessageParseError", f"Request invalid due to parse error: {why}"
    )


def bad_request(detail: str) -> CloudError:
    """400: the request was understood, and is wrong; most of these are 422 instead."""
    return CloudError(400, 1004, "CF-BadRequest", f"Bad request: {detail}")


def bad_query(detail: str) -> CloudError:
    """400: an unknown or malformed query parameter."""
    return CloudError(
        400, 10005, "CF-BadQueryParameter", f"The query parameter is invalid: {detail}"
    )


def staging_in_progress() -> CloudError:
    """422: one build at a time for each app."""
    return CloudError(
        422,
        170017,
        "CF-StagingInProgress",
        "Only one build can be STAGING at a time per application.",
    )


def bits_already_uploaded() -> CloudError:
    """400: a package takes bits once."""
    return CloudError(
        400,
        150004,
        "CF-PackageBitsAlreadyUploaded",
        "Bits may be uploaded only once. Create a new package to upload different bits.",
    )


def deployment_in_progress(what: str) -> CloudError:
    """422: *what* is "scale" or "stop"; a rolling deployment owns the web process."""
    if what == "scale":
        return CloudError(
            422,
            390016,
            "CF-ScaleDisabledDuringDeployment",
            "Cannot scale this process while a deployment is in flight.",
        )
    return CloudError(
        422,
        390024,
        "CF-StopDisabledDuringDeployment",
        "Cannot stop the app while it is deploying, please cancel the deployment "
        "before stopping the app.",
    )


def present_error(error: ApplianceError) -> tuple[int, dict[str, str], bytes]:
    """*error* as Cloud Controller would answer it."""
    if isinstance(error, CloudErrors):
        status, headers, _ = present_error(error.errors[0])
        details = [_detail(one.number, one.title, str(one)) for one in error.errors]
        return status, headers, json.dumps({"errors": details}).encode()
    if isinstance(error, CloudError):
        status, number, title = error.http, error.number, error.title
    elif error.status == 404:
        status, number, title = 404, 10000, "CF-NotFound"
    elif error.status < 500:
        status, number, title = error.status, 10008, "CF-UnprocessableEntity"
        if status == 401:
            number, title = 10002, "CF-NotAuthenticated"
    else:
        status, number, title = error.status, 10001, "UnknownError"
    detail = str(error) or "An unknown error occurred."
    if error.hint:
        detail = f"{detail} {error.hint}"
    body: dict[str, object] = {"errors": [_detail(number, title, detail)]}
    if isinstance(error, LegacyError):
        body = {"code": number, "description": detail}
    elif isinstance(error, OldApiError):
        body |= {"code": number, "error_code": title, "description": error.description}
    elif isinstance(error, UaaError):
        body = {"error": title, "error_description": detail}
    headers = {"content-type": "application/json"}
    if status == 503:
        headers["retry-after"] = "5"  # seconds: about as long as a start after a stop takes
    return status, headers, json.dumps(body).encode()


def _detail(number: int, title: str, detail: str) -> dict[str, object]:
    return {"code": number, "title": title, "detail": detail}
