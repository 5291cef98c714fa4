"""Where apps are reached: the router's URL, and the names that lead through it."""

from __future__ import annotations

from urllib.parse import urlsplit

from appliance.commands.api import Api
from appliance.commands.errors import ApiError


async def router_url(api: Api) -> str:
    """The router's base URL, e.g. ``http://127.0.0.1:7780``; "" for an API that has none of ours.

    The endpoints file knows it; any other appliance is asked.
    """
    if api.target.endpoints is not None:
        return api.target.endpoints.apps
    try:
        info = await api.get("/_appliance/info")
    except ApiError as error:
        if error.http == 404:
            return ""
        raise
    return str(info["endpoints"]["apps"])


def browsable(router: str, route: str) -> str:
    """The URL of *route* (``hello.apps.localhost/path``) for a browser or curl."""
    host, slash, path = route.partition("/")
    if not router:
        return f"http://{route}"
    at = urlsplit(router)
    port = f":{at.port}" if at.port else ""
    return f"{at.scheme}://{host}{port}{slash}{path}"


def reachable(router: str, route: str) -> tuple[str, str]:
    """URL and Host header to reach *route* without having to resolve its name."""
    host, slash, path = route.partition("/")
    at = urlsplit(router)
    port = f":{at.port}" if at.port else ""
    return f"{router}{slash}{path}", host + port
