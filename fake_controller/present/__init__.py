"""Records as the V3 API shows them. Pure: *base* is the URL that links begin with."""

from __future__ import annotations

from fake_controller.present.apps import app, current_droplet
from fake_controller.present.buildpacks import buildpack, stack, without_login
from fake_controller.present.deployments import deployment, revision
from fake_controller.present.events import audit_event
from fake_controller.present.jobs import job
from fake_controller.present.marketplace import (
    service_broker,
    service_offering,
    service_plan,
    service_plan_visibility,
)
from fake_controller.present.processes import instance_stats, process
from fake_controller.present.route_bindings import service_route_binding
from fake_controller.present.routes import destination, domain, route, shared_spaces
from fake_controller.present.scim import scim_page, scim_user
from fake_controller.present.services import (
    service_credential_binding,
    service_credential_binding_details,
    service_instance,
)
from fake_controller.present.shape import HIDDEN, timestamp, to_one
from fake_controller.present.sidecars import sidecar
from fake_controller.present.staging import build, droplet, package
from fake_controller.present.tasks import task
from fake_controller.present.tenants import organization, role, space, user

__all__ = [
    "HIDDEN",
    "app",
    "audit_event",
    "build",
    "buildpack",
    "current_droplet",
    "deployment",
    "destination",
    "domain",
    "droplet",
    "instance_stats",
    "job",
    "organization",
    "package",
    "process",
    "revision",
    "role",
    "route",
    "scim_page",
    "scim_user",
    "service_broker",
    "service_credential_binding",
    "service_credential_binding_details",
    "service_instance",
    "service_offering",
    "service_plan",
    "service_plan_visibility",
    "service_route_binding",
    "shared_spaces",
    "sidecar",
    "space",
    "stack",
    "task",
    "timestamp",
    "to_one",
    "user",
    "without_login",
]
