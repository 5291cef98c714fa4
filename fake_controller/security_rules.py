"""The rules of security groups: what one may say. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "all")
FIELDS = {"protocol", "destination", "ports", "type", "code", "description", "log"}
_PORTS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*")
MOST_PORT = 65535


def problems(rules: Sequence[Any]) -> list[str]:
    """What is wrong with *rules*, a sentence each; nothing when they are right."""
    return [f"Rules[{at}]: {why}" for at, rule in enumerate(rules) for why in _problems(rule)]


def _problems(rule: Any) -> list[str]:
    if not isinstance(rule, Mapping):
        return ["must be an object"]
    found = []
    if unknown := sorted(set(rule) - FIELDS):
        found.append(f"unknown field(s): {unknown}")
    protocol = rule.get("protocol")
    if protocol not in PROTOCOLS:
        found.append("protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'")
    if not _destination(rule.get("destination")):
        found.append(
            "destination must contain valid CIDR(s), IP address(es), or IP address range(s)"
        )
    found += _ports(protocol, rule.get("ports"))
    if protocol in ("icmp", "icmpv6"):
        for name in ("type", "code"):
            value = rule.get(name)
            if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value <= 255:
                found.append(f"{name} must be an integer between -1 and 255 (inclusive)")
    if not isinstance(rule.get("description", ""), str):
        found.append("description must be a string")
    if not isinstance(rule.get("log", False), bool):
        found.append("log must be a boolean")
    return found


def _ports(protocol: Any, ports: Any) -> list[str]:
    if protocol not in ("tcp", "udp"):
        return [] if ports is None else [f"ports are not allowed for protocols of type {protocol}"]
    if ports is None:
        return ["ports are required for protocols of type TCP and UDP"]
    if isinstance(ports, str) and _PORTS.fullmatch(ports.replace(" ", "")):
        ranges = [part.split("-") for part in ports.replace(" ", "").split(",")]
        if all(1 <= int(one[0]) <= int(one[-1]) <= MOST_PORT for one in ranges):
            return []
    return ["ports must be a valid single port, comma separated list of ports, or range of ports"]


def _destination(text: Any) -> bool:
    """Whether *text* is addresses, networks or ranges, separated by commas."""
    if not isinstance(text, str) or not text:
        return False
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if dash:
                if int(ip_address(first)) > int(ip_address(last)):
                    return False
            else:
                ip_network(first, strict=False)
    except ValueError:
        return False
    return True
