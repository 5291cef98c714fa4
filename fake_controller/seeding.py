"""What every installation has from its first start."""

from __future__ import annotations

from appliance.config import ControllerConfig
from fake_controller.accounts import new_account, user_of
from fake_controller.buildpacks import seed_buildpacks
from fake_controller.flags import DEFAULTS
from fake_controller.model import (
    Account,
    Domain,
    FeatureFlag,
    IsolationSegment,
    Organization,
    OrganizationQuota,
    Setting,
    Space,
)
from fake_controller.model.isolation import SHARED_SEGMENT
from fake_controller.store import Tx
from fake_controller.tokens import ADMIN_GROUPS

DEFAULT_QUOTA = "default"  # of new organizations; without limits until somebody sets some


def seed(tx: Tx, config: ControllerConfig, password: str) -> dict[str, str]:
    """Make what is not there yet; returns the installation's secrets.

    Args:
      password: The digest of the first user's password.
    """
    if tx.first(Account, username=config.user) is None:
        account = new_account(tx, username=config.user, password=password, groups=ADMIN_GROUPS)
        user_of(tx, account.guid)
    quota = tx.first(OrganizationQuota, name=DEFAULT_QUOTA)
    if quota is None:
        quota = tx.new(OrganizationQuota, name=DEFAULT_QUOTA)
    organization = tx.first(Organization, name=config.org)
    if organization is None:
        organization = tx.new(Organization, name=config.org, organization_quota_guid=quota.guid)
    if tx.first(Space, organization_guid=organization.guid, name=config.space) is None:
        tx.new(Space, organization_guid=organization.guid, name=config.space)
    if tx.first(Domain, name=config.app_domain) is None:
        tx.new(Domain, name=config.app_domain)
    if tx.get(IsolationSegment, SHARED_SEGMENT) is None:
        tx.new(IsolationSegment, guid=SHARED_SEGMENT, name="shared")
    for name, enabled in DEFAULTS.items():
        if tx.get(FeatureFlag, name) is None:
            tx.new(FeatureFlag, guid=name, name=name, enabled=enabled)
    seed_buildpacks(tx)
    given = {
        "token-key": "",
        config.staging_user: config.staging_password,
        config.bulk_user: config.bulk_password,
        "registry": config.registry_password,
    }
    return {name: value or _kept_secret(tx, name) for name, value in given.items()}


def _kept_secret(tx: Tx, name: str) -> str:
    setting = tx.get(Setting, f"secret-{name}")
    if setting is None:
        setting = tx.new(Setting, guid=f"secret-{name}", value=tx.ids.hex(64))
    return setting.value
