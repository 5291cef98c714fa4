"""The controller's records. Each is stored as one JSON document under its guid.

A field that ends in ``_guid`` leads to another record: ``app_guid`` to an `App`.
"""

from __future__ import annotations

from fake_controller.model.accounts import Account, Client, RevokedToken
from fake_controller.model.apps import App, Process
from fake_controller.model.buildpacks import Buildpack, Stack
from fake_controller.model.deployments import Deployment, Revision
from fake_controller.model.events import AuditEvent
from fake_controller.model.installation import EnvironmentGroup, FeatureFlag, Job, Setting
from fake_controller.model.isolation import (
    Entitlement,
    IsolationSegment,
    SecurityGroup,
    SecurityGroupBinding,
)
from fake_controller.model.marketplace import (
    ServiceBroker,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
)
from fake_controller.model.networking import NetworkPolicy
from fake_controller.model.quotas import OrganizationQuota, Quota, SpaceQuota
from fake_controller.model.record import Record
from fake_controller.model.route_bindings import ServiceRouteBinding
from fake_controller.model.routes import Destination, Domain, DomainShare, Route
from fake_controller.model.services import (
    UNFINISHED,
    Operation,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
    ServiceInstanceShare,
)
from fake_controller.model.sidecars import Sidecar
from fake_controller.model.staging import Build, Droplet, Package
from fake_controller.model.tasks import Task
from fake_controller.model.tenants import Organization, Role, Space, User
from fake_controller.model.usage import AppUsageEvent, ServiceUsageEvent

__all__ = [
    "RECORDS",
    "UNFINISHED",
    "Account",
    "App",
    "AppUsageEvent",
    "AuditEvent",
    "Build",
    "Buildpack",
    "Client",
    "Deployment",
    "Destination",
    "Domain",
    "DomainShare",
    "Droplet",
    "Entitlement",
    "EnvironmentGroup",
    "FeatureFlag",
    "IsolationSegment",
    "Job",
    "NetworkPolicy",
    "Operation",
    "Organization",
    "OrganizationQuota",
    "Package",
    "Process",
    "Quota",
    "Record",
    "Revision",
    "RevokedToken",
    "Role",
    "Route",
    "SecurityGroup",
    "SecurityGroupBinding",
    "ServiceBroker",
    "ServiceCredentialBinding",
    "ServiceErrand",
    "ServiceInstance",
    "ServiceInstanceShare",
    "ServiceOffering",
    "ServicePlan",
    "ServicePlanVisibility",
    "ServiceRouteBinding",
    "ServiceUsageEvent",
    "Setting",
    "Sidecar",
    "Space",
    "SpaceQuota",
    "Stack",
    "Task",
    "User",
]

RECORDS: tuple[type[Record], ...] = (
    Organization,
    OrganizationQuota,
    SpaceQuota,
    Space,
    User,
    Account,
    Client,
    RevokedToken,
    Role,
    Domain,
    DomainShare,
    Route,
    Destination,
    App,
    Process,
    Sidecar,
    Package,
    Build,
    Buildpack,
    Stack,
    Droplet,
    Deployment,
    Revision,
    ServiceBroker,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
    ServiceInstance,
    ServiceInstanceShare,
    ServiceCredentialBinding,
    ServiceRouteBinding,
    ServiceErrand,
    Task,
    AuditEvent,
    AppUsageEvent,
    ServiceUsageEvent,
    NetworkPolicy,
    IsolationSegment,
    Entitlement,
    SecurityGroup,
    SecurityGroupBinding,
    Job,
    Setting,
    EnvironmentGroup,
    FeatureFlag,
)
