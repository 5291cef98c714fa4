"""Organizations, spaces and users. Pure."""

from __future__ import annotations

from fake_controller.model import Organization, Space, User
from fake_controller.present.shape import Json, common, to_one


def organization(record: Organization, base: str) -> Json:
    """An organization."""
    shown = common(record, base, "organizations")
    own = f"{base}/v3/organizations/{record.guid}"
    shown["links"] |= {
        "domains": {"href": f"{own}/domains"},
        "default_domain": {"href": f"{own}/domains/default"},
    }
    return shown | {
        "name": record.name,
        "suspended": record.suspended,
        "relationships": {"quota": to_one(None)},
    }


def space(record: Space, base: str) -> Json:
    """A space."""
    shown = common(record, base, "spaces")
    shown["links"] |= {
        "organization": {"href": f"{base}/v3/organizations/{record.organization_guid}"},
        "apps": {"href": f"{base}/v3/apps?space_guids={record.guid}"},
    }
    return shown | {
        "name": record.name,
        "relationships": {
            "organization": to_one(record.organization_guid),
            "quota": to_one(None),
        },
    }


def user(record: User, base: str) -> Json:
    """A user."""
    return common(record, base, "users") | {
        "username": record.username,
        "presentation_name": record.username,
        "origin": record.origin,
    }
