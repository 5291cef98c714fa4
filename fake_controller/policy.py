"""Who sees and who changes each kind of record: one table."""

from __future__ import annotations

from fake_controller.access import (
    DOMAIN_READERS,
    SPACE_MANAGERS,
    SUPPORTERS,
    Policy,
    Rule,
    admins,
    auditors,
    changed_in_organization,
    changed_in_space,
    either,
    everyone,
    seen_in_organization,
    seen_in_space,
)
from fake_controller.conditions import ALL, NONE, is_
from fake_controller.model import (
    App,
    AppUsageEvent,
    AuditEvent,
    Build,
    Buildpack,
    Deployment,
    Domain,
    DomainShare,
    Droplet,
    FeatureFlag,
    IsolationSegment,
    Job,
    Organization,
    OrganizationQuota,
    Package,
    Process,
    Record,
    Revision,
    Role,
    Route,
    SecurityGroup,
    SecurityGroupBinding,
    ServiceBroker,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceInstanceShare,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
    ServiceRouteBinding,
    ServiceUsageEvent,
    Sidecar,
    Space,
    SpaceQuota,
    Stack,
    Task,
    User,
)

OF_APP = Policy(seen_in_space("app.space_guid"), changed_in_space("app.space_guid"))
OF_SPACE = Policy(seen_in_space("space_guid"), changed_in_space("space_guid"))
OF_ALL = Policy(everyone, admins)


def of_keys(rule: Rule) -> Rule:
    """*rule*, of service keys alone: they are where their instance is."""
    return lambda access: is_("type", "key") & rule(access)


def offered(plan: str, space: str) -> Rule:
    """Those who can use a plan; *plan* leads to it, *space* to the one that its broker is of."""
    organization = f"{plan}service_plan_visibilities[service_plan_guid].organization_guid"
    return either(
        lambda _: is_(f"{plan}visibility", "public"),
        seen_in_organization(organization),
        seen_in_space(space),
    )


POLICIES: dict[type[Record], Policy] = {
    Organization: Policy(seen_in_organization("guid"), changed_in_organization("guid")),
    Space: Policy(seen_in_space("guid"), changed_in_space("guid", SPACE_MANAGERS)),
    OrganizationQuota: Policy(
        seen_in_organization("organizations[organization_quota_guid].guid"), admins
    ),
    # Those in the spaces that it is applied to see it, and the organization's managers all.
    SpaceQuota: Policy(
        either(
            changed_in_organization("organization_guid"),
            seen_in_space("spaces[space_quota_guid].guid"),
        ),
        changed_in_organization("organization_guid"),
    ),
    Role: Policy(
        either(
            lambda access: is_("user_guid", access.identity.guid),
            seen_in_organization("organization_guid"),
            seen_in_space("space_guid"),
        ),
        either(
            changed_in_organization("organization_guid"),
            changed_in_space("space_guid", SPACE_MANAGERS),
        ),
    ),
    User: Policy(
        either(
            lambda access: is_("guid", access.identity.guid),
            seen_in_organization("roles[user_guid].organization_guid"),
            seen_in_space("roles[user_guid].space_guid"),
        ),
        admins,
    ),
    # Who only sees an organization's bills sees nothing of its domains.
    Domain: Policy(
        either(
            lambda _: is_("organization_guid", None),
            seen_in_organization("organization_guid", DOMAIN_READERS),
            seen_in_organization("domain_shares[domain_guid].organization_guid", DOMAIN_READERS),
        ),
        changed_in_organization("organization_guid"),
    ),
    DomainShare: Policy(seen_in_organization("organization_guid"), admins),
    Route: Policy(seen_in_space("space_guid"), changed_in_space("space_guid", SUPPORTERS)),
    App: OF_SPACE,
    Process: OF_APP,
    Sidecar: OF_APP,
    Package: OF_APP,
    Build: OF_APP,
    Buildpack: OF_ALL,
    Stack: OF_ALL,
    Droplet: OF_APP,
    Deployment: OF_APP,
    Revision: OF_APP,
    # A broker for everybody is the administrators' business; what it offers may be everybody's.
    ServiceBroker: Policy(seen_in_space("space_guid"), changed_in_space("space_guid")),
    ServiceOffering: Policy(
        offered("service_plans[service_offering_guid].", "service_broker.space_guid"),
        changed_in_space("service_broker.space_guid"),
    ),
    ServicePlan: Policy(
        offered("", "service_offering.service_broker.space_guid"),
        changed_in_space("service_offering.service_broker.space_guid"),
    ),
    ServicePlanVisibility: Policy(seen_in_organization("organization_guid"), admins),
    # Who works in a space that an instance is shared with sees it, and binds it there.
    ServiceInstance: Policy(
        either(
            seen_in_space("space_guid"),
            seen_in_space("service_instance_shares[service_instance_guid].space_guid"),
        ),
        changed_in_space("space_guid"),
    ),
    ServiceInstanceShare: Policy(
        either(seen_in_space("space_guid"), seen_in_space("service_instance.space_guid")),
        changed_in_space("service_instance.space_guid"),
    ),
    ServiceCredentialBinding: Policy(
        either(
            seen_in_space("app.space_guid"),
            of_keys(seen_in_space("service_instance.space_guid")),
        ),
        either(
            changed_in_space("app.space_guid"),
            of_keys(changed_in_space("service_instance.space_guid")),
        ),
    ),
    ServiceRouteBinding: Policy(
        seen_in_space("route.space_guid"), changed_in_space("route.space_guid", SUPPORTERS)
    ),
    Task: OF_APP,
    AuditEvent: Policy(
        either(seen_in_space("space_guid"), changed_in_organization("organization_guid")),
        lambda _: NONE,
    ),
    FeatureFlag: OF_ALL,
    IsolationSegment: Policy(
        either(
            auditors,
            seen_in_organization("entitlements[isolation_segment_guid].organization_guid"),
        ),
        admins,
    ),
    SecurityGroup: Policy(
        either(
            lambda _: is_("running", True) | is_("staging", True),
            seen_in_space("security_group_bindings[security_group_guid].space_guid"),
        ),
        admins,
    ),
    SecurityGroupBinding: Policy(seen_in_space("space_guid"), admins),
    AppUsageEvent: Policy(auditors, lambda _: NONE),
    ServiceUsageEvent: Policy(auditors, lambda _: NONE),
    # Whoever knows a job's guid has begun it.
    Job: Policy(lambda _: ALL, lambda _: NONE),
}
