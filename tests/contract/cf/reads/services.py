"""Service instances and what is bound to them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from .shape import Tagged, Time, ToOne


class LastOperation(Struct):
    """How far it is."""

    type: str
    state: str
    description: str | None
    created_at: Time
    updated_at: Time


class InstanceOf(Struct):
    """An instance's relationships."""

    space: ToOne
    service_plan: ToOne | None = None


class ServiceInstance(Tagged, kw_only=True):
    """A service instance."""

    name: str
    type: Literal["user-provided", "managed"]
    tags: list[str]
    syslog_drain_url: str | None
    route_service_url: str | None
    last_operation: LastOperation
    relationships: InstanceOf


class BindingOf(Struct):
    """A binding's relationships."""

    service_instance: ToOne
    app: ToOne | None = None


class Binding(Tagged, kw_only=True):
    """A credential binding."""

    name: str | None
    type: Literal["app", "key"]
    last_operation: LastOperation
    relationships: BindingOf


class Credentials(Struct):
    """What a binding is for."""

    credentials: dict[str, Any]
