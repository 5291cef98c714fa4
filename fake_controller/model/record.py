"""What every record of the controller has."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct, field


class Record(Struct, frozen=True, kw_only=True):
    """What every resource has."""

    table: ClassVar[str]
    indexed: ClassVar[tuple[str, ...]] = ()  # fields that lists are filtered by

    guid: str
    created_at: float  # seconds since 1970
    updated_at: float
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    @classmethod
    def noun(cls) -> str:
        """What messages call one: "App", "Service instance"."""
        return re.sub(r"\B(?=[A-Z])", " ", cls.__name__).capitalize()
