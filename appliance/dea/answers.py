"""What a DEA answers to those who ask how full it is, and for its instances."""

from __future__ import annotations

import os

from msgspec.structs import replace

from appliance.dea.dea import MIB, Dea
from appliance.dea.instance import Instance
from appliance.dea.messages import FindDroplet, FoundInstance, Stats, StatusReply


def status(dea: Dea) -> StatusReply:
    """How full *dea* is."""
    room = dea.room
    used = sum(life.instance.memory for life in dea.lives.values())
    return StatusReply(
        id=dea.id,
        ip=dea.hello.ip,
        port=dea.hello.port,
        max_memory=room.max_memory,
        reserved_memory=room.reserved,
        used_memory=round(used / MIB, 1),
        num_clients=room.instances,
        state="SHUTTING_DOWN" if dea.draining else None,
    )


def found(dea: Dea, question: FindDroplet) -> list[FoundInstance]:
    """An answer for each instance that matches; only what runs has figures."""
    files = f"http://{dea.hello.ip}:{dea.hello.port}/droplets/"
    answers = []
    for instance in dea.matching(question):
        answer = instance.found(dea.id, files, dea.credentials)
        if question.include_stats and instance.state == "RUNNING":
            answer = replace(answer, stats=_stats(dea, instance))
        answers.append(answer)
    return answers


def all_stats(dea: Dea) -> list[Stats]:
    """The figures of every live instance."""
    return [_stats(dea, instance) for instance in dea.instances.values() if instance.live]


def _stats(dea: Dea, instance: Instance) -> Stats:
    return instance.stats(dea.shared.kit.clock.time(), os.cpu_count() or 1)
