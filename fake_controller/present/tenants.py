"""Organizations, spaces and users. Pure."""

from __future__ import annotations

from fake_controller.model import Account, Organization, Role, Space, User
from fake_controller.present.shape import Json, common, to_one


def organization(record: Organization, base: str) -> Json:
    """An organization."""
    shown = common(record, base, "organizations")
    own = f"{base}/v3/organizations/{record.guid}"
    shown["links"] |= {
        "domains": {"href": f"{own}/domains"},
        "default_domain": {"href": f"{own}/domains/default"},
    }
    if quota := record.organization_quota_guid:
        shown["links"]["quota"] = {"href": f"{base}/v3/organization_quotas/{quota}"}
    return shown | {
        "name": record.name,
        "suspended": record.suspended,
        "relationships": {"quota": to_one(record.organization_quota_guid)},
    }


def space(record: Space, base: str) -> Json:
    """A space."""
    shown = common(record, base, "spaces")
    shown["links"] |= {
        "organization": {"href": f"{base}/v3/organizations/{record.organization_guid}"},
        "apps": {"href": f"{base}/v3/apps?space_guids={record.guid}"},
        "features": {"href": f"{base}/v3/spaces/{record.guid}/features"},
        "apply_manifest": {
            "href": f"{base}/v3/spaces/{record.guid}/actions/apply_manifest",
            "method": "POST",
        },
    }
    if quota := record.space_quota_guid:
        shown["links"]["quota"] = {"href": f"{base}/v3/space_quotas/{quota}"}
    return shown | {
        "name": record.name,
        "relationships": {
            "organization": to_one(record.organization_guid),
            "quota": to_one(record.space_quota_guid),
        },
    }


def user(record: User, base: str, account: Account | None) -> Json:
    """A user; one without an account is called by the guid."""
    return common(record, base, "users") | {
        "username": account.username if account else None,
        "presentation_name": account.username if account else record.guid,
        "origin": account.origin if account else None,
    }


def role(record: Role, base: str) -> Json:
    """What a user may do where."""
    shown = common(record, base, "roles", metadata=False)
    shown["links"]["user"] = {"href": f"{base}/v3/users/{record.user_guid}"}
    if record.space_guid:
        shown["links"]["space"] = {"href": f"{base}/v3/spaces/{record.space_guid}"}
    else:
        own = f"{base}/v3/organizations/{record.organization_guid}"
        shown["links"]["organization"] = {"href": own}
    return shown | {
        "type": record.type,
        "relationships": {
            "user": to_one(record.user_guid),
            "space": to_one(record.space_guid),
            "organization": to_one(record.organization_guid),
        },
    }
