"""Feature flags: what administrators can switch off for everybody else. Pure."""

from __future__ import annotations

from fake_controller.tokens import Identity

#: Cloud Controller's flags and their defaults.
DEFAULTS = {
    "user_org_creation": False,
    "private_domain_creation": True,
    "app_bits_upload": True,
    "app_scaling": True,
    "route_creation": True,
    "service_instance_creation": True,
    "diego_docker": False,
    "diego_cnb": False,
    "set_roles_by_username": True,
    "unset_roles_by_username": True,
    "task_creation": True,
    "env_var_visibility": True,
    "space_scoped_private_broker_creation": True,
    "space_developer_env_var_visibility": True,
    "service_instance_sharing": False,
    "hide_marketplace_from_unauthenticated_users": False,
    "resource_matching": True,
    "route_sharing": False,
    "hash_based_routing": False,
}
#: Why some cannot be switched on: what they would let people do is nothing that works here.
FIXED = {
    "diego_docker": "Apps are not run from Docker images here.",
    "diego_cnb": "Apps are not staged by Cloud Native Buildpacks here.",
}
_ADMINS_SKIP = {
    "app_bits_upload",
    "app_scaling",
    "private_domain_creation",
    "route_creation",
    "service_instance_creation",
    "set_roles_by_username",
    "space_developer_env_var_visibility",
    "task_creation",
    "unset_roles_by_username",
    "user_org_creation",
}


def is_skipped(flag: str, identity: Identity) -> bool:
    """Whether *identity* may do what *flag* is about, even while it is off."""
    if flag == "space_developer_env_var_visibility" and identity.reads_secrets:
        return True
    return identity.admin and flag in _ADMINS_SKIP
