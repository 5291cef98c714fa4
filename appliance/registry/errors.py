"""What can go wrong in the registry, in the form that OCI clients read."""

from __future__ import annotations

import json
from typing import ClassVar

from appliance.kernel.errors import ApplianceError


class OciError(ApplianceError):
    """An error with a code of the distribution specification."""

    oci: ClassVar[str] = "UNKNOWN"


class NameInvalid(OciError):
    """A repository name of other characters than the specification allows."""

    code, status, oci = "name-invalid", 400, "NAME_INVALID"


class NameUnknown(OciError):
    """No app has this name."""

    code, status, oci = "name-unknown", 404, "NAME_UNKNOWN"
    hint = "A repository is an app's name, org/space/app, or an app's guid."


class ManifestUnknown(OciError):
    """The app has no droplet under this tag or digest."""

    code, status, oci = "manifest-unknown", 404, "MANIFEST_UNKNOWN"
    hint = "Tags are latest (the app's current droplet) and the guids of its droplets."


class BlobUnknown(OciError):
    """No image that was made here has this blob."""

    code, status, oci = "blob-unknown", 404, "BLOB_UNKNOWN"


class DigestInvalid(OciError):
    """Not ``sha256:`` and 64 lower-case hexadecimal digits."""

    code, status, oci = "digest-invalid", 400, "DIGEST_INVALID"


class PaginationInvalid(OciError):
    """The number of results that was asked for is none."""

    code, status, oci = "pagination-invalid", 400, "PAGINATION_NUMBER_INVALID"


class ReadOnly(OciError):
    """Images come from droplets: nobody can push, mount or delete them."""

    code, status, oci = "unsupported", 405, "UNSUPPORTED"
    hint = "Push the app with cf; its droplet is an image at once."


class NotAnImage(OciError):
    """The droplet has something that no image layer can hold."""

    code, status, oci = "not-an-image", 422, "MANIFEST_INVALID"


_BY_STATUS = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 405: "UNSUPPORTED"}


def present(error: ApplianceError) -> tuple[int, dict[str, str], bytes]:
    """``{"errors": [{"code", "message", "detail"}]}``."""
    if isinstance(error, OciError):
        code = error.oci
    elif error.status in (429, 503):
        code = "TOOMANYREQUESTS" if error.status == 429 else "UNAVAILABLE"
    else:
        code = _BY_STATUS.get(error.status, "UNKNOWN")
    detail = {"hint": error.hint} if error.hint else {}
    told = {"errors": [{"code": code, "message": str(error), "detail": detail}]}
    headers = {"Content-Type": "application/json"}
    if isinstance(error, ReadOnly):
        headers["Allow"] = "GET, HEAD"
    return error.status, headers, json.dumps(told).encode()
