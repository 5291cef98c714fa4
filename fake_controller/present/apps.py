"""Apps. Pure."""

from __future__ import annotations

from fake_controller.model import App
from fake_controller.present.buildpacks import without_login
from fake_controller.present.shape import Json, common, to_one


def app(record: App, base: str) -> Json:
    """An app."""
    shown = common(record, base, "apps")
    own = f"{base}/v3/apps/{record.guid}"
    shown["links"] |= {
        name: {"href": f"{own}/{path}"}
        for name, path in (
            ("environment_variables", "environment_variables"),
            ("processes", "processes"),
            ("packages", "packages"),
            ("current_droplet", "droplets/current"),
            ("droplets", "droplets"),
        )
    }
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "start": {"href": f"{own}/actions/start", "method": "POST"},
        "stop": {"href": f"{own}/actions/stop", "method": "POST"},
    }
    return shown | {
        "name": record.name,
        "state": record.state,
        "lifecycle": {
            "type": record.lifecycle,
            "data": {
                "buildpacks": [without_login(name) for name in record.buildpacks],
                "stack": record.stack,
            },
        },
        "relationships": {
            "space": to_one(record.space_guid),
            "current_droplet": to_one(record.droplet_guid),
        },
    }


def current_droplet(record: App, base: str) -> Json:
    """The relationship of an app to the droplet that it runs."""
    own = f"{base}/v3/apps/{record.guid}"
    links = {
        "self": {"href": f"{own}/relationships/current_droplet"},
        "related": {"href": f"{own}/droplets/current"},
    }
    return to_one(record.droplet_guid) | {"links": links}
