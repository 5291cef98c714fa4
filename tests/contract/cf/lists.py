"""Which lists there are."""

from __future__ import annotations

from fake_controller.http.table import RESOURCES, served

#: Every list of the API that needs no guid.
LISTS = sorted(
    path
    for resource in RESOURCES
    for method, path in served(resource)
    if method == "GET" and path.startswith("/v3/") and path.count("/") == 2 and path.endswith("s")
)
