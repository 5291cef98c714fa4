"""The OpenAPI document that the controller serves."""

from __future__ import annotations

from .conftest import Cloud


async def test_the_document_describes_what_is_served(cloud: Cloud) -> None:
    """Without a token; bodies, filters and path parameters are told."""
    cloud.token = ""

    document = await cloud.call("GET", "/openapi.json", expect=200)

    create = document["paths"]["/v3/apps"]["post"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert schema["$ref"].removeprefix("#/components/schemas/") in document["components"]["schemas"]
    keys = {one["name"] for one in document["paths"]["/v3/apps"]["get"]["parameters"]}
    assert {"page", "per_page", "names", "include", "label_selector"} <= keys
    scale = document["paths"]["/v3/apps/{guid}/processes/{type_}/actions/scale"]["post"]
    assert [one["name"] for one in scale["parameters"]] == ["guid", "type_"]
