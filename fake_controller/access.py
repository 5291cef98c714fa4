"""Who may see and change what: roles, and the rules that are made of them. Pure.

A `Rule` turns what somebody has (`Access`) into a condition on records, so one and the same
rule filters a list, finds one record, and decides whether it may be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fake_controller.conditions import ALL, NONE, Condition, among
from fake_controller.tokens import Identity

ORGANIZATION_ROLES = (
    "organization_user", "organization_auditor", "organization_manager",
    "organization_billing_manager",
)  # fmt: skip
SPACE_ROLES = ("space_auditor", "space_developer", "space_manager", "space_supporter")

#: Who sees what is in a space. Its organization's managers do, too.
READERS = (*SPACE_ROLES, "organization_manager")
DEVELOPERS = ("space_developer",)
#: Who may start, stop, scale and map, but not push.
SUPPORTERS = ("space_developer", "space_supporter")
SPACE_MANAGERS = ("space_manager", "organization_manager")
MANAGERS = ("organization_manager",)
#: Who sees the private domains of an organization.
DOMAIN_READERS = ("organization_user", "organization_auditor", "organization_manager")
#: Who sees what environments hold.
SECRET_READERS = ("space_developer",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What one identity has: the guids in which it holds each role.

    A manager of an organization is listed under ``organization_manager`` of its spaces, too.
    """

    identity: Identity
    organizations: dict[str, frozenset[str]]  # role type: organization guids
    spaces: dict[str, frozenset[str]]  # role type: space guids
    #: Guids of suspended organizations and of their spaces: only administrators change them.
    suspended: frozenset[str] = frozenset()

    def in_spaces(self, roles: Iterable[str]) -> frozenset[str]:
        """Spaces in which one of *roles* is held."""
        return frozenset().union(*(self.spaces.get(role, ()) for role in roles))

    def in_organizations(self, roles: Iterable[str]) -> frozenset[str]:
        """Organizations in which one of *roles* is held."""
        return frozenset().union(*(self.organizations.get(role, ()) for role in roles))


Rule = Callable[[Access], Condition]


@dataclass(frozen=True, slots=True)
class Policy:
    """Who sees the records of a kind, and who changes them."""

    seen: Rule
    changed: Rule


def everyone(_: Access) -> Condition:
    """All who are logged in."""
    return ALL


def admins(access: Access) -> Condition:
    """Administrators."""
    return ALL if access.identity.admin else NONE


def auditors(access: Access) -> Condition:
    """Administrators, and those who may read everything."""
    return ALL if access.identity.admin or access.identity.reads_all else NONE


def seen_in_space(path: str) -> Rule:
    """Those with any role in the space whose guid is at *path*."""
    return lambda access: auditors(access) | among(path, access.in_spaces(READERS))


def changed_in_space(path: str, roles: tuple[str, ...] = DEVELOPERS) -> Rule:
    """Those with one of *roles* in the space whose guid is at *path*."""
    return lambda access: admins(access) | among(path, access.in_spaces(roles) - access.suspended)


def secrets_in_space(path: str) -> Rule:
    """Those who may read the environments in the space whose guid is at *path*."""

    def rule(access: Access) -> Condition:
        all_ = ALL if access.identity.admin or access.identity.reads_secrets else NONE
        return all_ | among(path, access.in_spaces(SECRET_READERS))

    return rule


def seen_in_organization(path: str, roles: tuple[str, ...] = ORGANIZATION_ROLES) -> Rule:
    """Those with any of *roles* in the organization whose guid is at *path*."""
    return lambda access: auditors(access) | among(path, access.in_organizations(roles))


def changed_in_organization(path: str, roles: tuple[str, ...] = MANAGERS) -> Rule:
    """Those with one of *roles* in the organization whose guid is at *path*."""
    return lambda access: (
        admins(access) | among(path, access.in_organizations(roles) - access.suspended)
    )


def either(*rules: Rule) -> Rule:
    """Those whom one of *rules* lets."""

    def rule(access: Access) -> Condition:
        found = NONE
        for one in rules:
            found |= one(access)
        return found

    return rule
