"""The API as an OpenAPI document, made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from quart import Response

from appliance import __version__
from fake_controller.http.api import Api, Described
from fake_controller.http.listing import PAGE_MOST, PER_PAGE, PER_PAGE_MOST, Listing

Json = dict[str, Any]

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
_SCHEMAS = "#/components/schemas/{name}"
_NUMBERS: dict[str, Json] = {
    "page": {"type": "integer", "minimum": 1, "maximum": PAGE_MOST, "default": 1},
    "per_page": {"type": "integer", "minimum": 1, "maximum": PER_PAGE_MOST, "default": PER_PAGE},
}
#: Cloud Controller's form of every error.
_ERRORS: Json = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["code", "title", "detail"],
                "properties": {
                    "code": {"type": "integer"},
                    "title": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        }
    },
}


def routes(api: Api) -> None:
    """``/openapi.json``: for people, generators and fuzzers; it needs no token."""

    @api.get("/openapi.json", public=True)
    async def openapi() -> Response:
        return api.json(document(api.described, api.base))


def document(described: Sequence[Described], base: str) -> Json:
    """What is served, as OpenAPI 3.1."""
    bodies = sorted({one.body for one in described if one.body}, key=lambda body: body.__name__)
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_SCHEMAS)
    by_body = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, Json] = {}
    for one in described:
        path = _PARAMETER.sub(lambda match: f"{{{match[2]}}}", one.path)
        paths.setdefault(path, {})[one.method.lower()] = _operation(one, path, by_body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The appliance: Cloud Foundry's API",
            "version": __version__,
            "description": "Uploads and downloads of packages, droplets and buildpacks are not "
            "listed: they pass by the web framework.",
        },
        "servers": [{"url": base}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components | {"Errors": _ERRORS},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(one: Described, path: str, by_body: dict[Any, Json]) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(converter)}
        for converter, name in _PARAMETER.findall(one.path)
    ]
    if one.lists is not None:
        parameters += _query(one.lists)
    errors = {"application/json": {"schema": {"$ref": _SCHEMAS.format(name="Errors")}}}
    operation: Json = {
        "operationId": f"{one.method.lower()} {path}",
        "parameters": parameters,
        "responses": {
            "2XX": {"description": "It was done, or begun."},
            "default": {"description": "Why not.", "content": errors},
        },
    }
    if one.body is not None or one.takes:
        schema = by_body[one.body] if one.body else {"type": "object"}
        content = {one.takes or "application/json": {"schema": schema}}
        operation["requestBody"] = {"required": True, "content": content}
    if one.public:
        operation["security"] = []
    return operation


def _path_schema(converter: str) -> Json:
    return {"type": "integer", "minimum": 0} if converter == "int" else {"type": "string"}


def _query(listing: Listing[Any]) -> list[Json]:
    schemas = {
        **_NUMBERS,
        "order_by": {"type": "string", "enum": listing.order_values},
        "include": {"type": "string", "enum": sorted(listing.includes)},
    }
    return [
        {"name": key, "in": "query", "schema": schemas.get(key, {"type": "string"})}
        for key in listing.query_keys
    ]
