"""What belongs to the installation: jobs and kept values."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from fake_controller.model.record import Record


class Job(Record, frozen=True, kw_only=True):
    """Something that clients poll until it is COMPLETE or FAILED."""

    table: ClassVar[str] = "jobs"

    operation: str
    state: str = "PROCESSING"  # COMPLETE FAILED
    errors: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


class Setting(Record, frozen=True, kw_only=True):
    """A value that belongs to the installation, such as the key that signs tokens."""

    table: ClassVar[str] = "settings"

    value: str


class FeatureFlag(Record, frozen=True, kw_only=True):
    """What administrators can switch off for everybody else; its guid is its name."""

    table: ClassVar[str] = "feature_flags"

    name: str
    enabled: bool
    custom_error_message: str | None = None
    switched: bool = False  # ever


class EnvironmentGroup(Record, frozen=True, kw_only=True):
    """Variables that all apps are given; its guid is ``running`` or ``staging``."""

    table: ClassVar[str] = "environment_variable_groups"

    variables: dict[str, str] = field(default_factory=dict)
