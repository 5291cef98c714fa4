"""Isolation segments and security groups. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fake_controller.model import IsolationSegment, SecurityGroup, SecurityGroupBinding
from fake_controller.present.shape import Json, common, to_many


def isolation_segment(record: IsolationSegment, base: str) -> Json:
    """An isolation segment."""
    shown = common(record, base, "isolation_segments")
    own = f"{base}/v3/isolation_segments/{record.guid}"
    shown["links"]["organizations"] = {"href": f"{own}/organizations"}
    return shown | {"name": record.name}


def security_group(
    record: SecurityGroup, base: str, bindings: Sequence[SecurityGroupBinding]
) -> Json:
    """A security group, with those of its *bindings* that the asker may see."""

    def spaces(phase: str) -> Json:
        return to_many(one.space_guid for one in bindings if one.phase == phase)

    return common(record, base, "security_groups", metadata=False) | {
        "name": record.name,
        "globally_enabled": {"running": record.running, "staging": record.staging},
        "rules": list(record.rules),
        "relationships": {
            "running_spaces": spaces("running"),
            "staging_spaces": spaces("staging"),
        },
    }
