"""What belongs to the installation: jobs and kept values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fake_controller.model.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Record):
    """Something that clients poll until it is COMPLETE or FAILED."""

    table: ClassVar[str] = "jobs"

    operation: str
    state: str = "PROCESSING"  # COMPLETE FAILED
    errors: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting(Record):
    """A value that belongs to the installation, such as the key that signs tokens."""

    table: ClassVar[str] = "settings"

    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureFlag(Record):
    """What administrators can switch off for everybody else; its guid is its name."""

    table: ClassVar[str] = "feature_flags"

    name: str
    enabled: bool
    custom_error_message: str | None = None
    switched: bool = False  # ever


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentGroup(Record):
    """Variables that all apps are given; its guid is ``running`` or ``staging``."""

    table: ClassVar[str] = "environment_variable_groups"

    variables: dict[str, str] = field(default_factory=dict)
