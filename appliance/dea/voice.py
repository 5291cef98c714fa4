"""Everything that a DEA publishes about itself and its instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from appliance.dea.instance import Instance
from appliance.dea.messages import Advertise, DropletExited, Heartbeat, Hello
from appliance.kernel.kit import Kit
from appliance.router.messages import RouterRegister, RouterUnregister, Routing

PLAIN = Routing()


class Voice:
    """The messages of one DEA. None of these methods waits."""

    def __init__(self, kit: Kit, dea: str) -> None:
        self._kit = kit
        self._dea = dea

    def hello(self, hello: Hello) -> None:
        """This DEA is there."""
        self._kit.publish(hello)

    def advertise(self, available: int, runtimes: list[str]) -> None:
        """So much memory (MB) is free; a full DEA says nothing."""
        if available > 0:
            self._kit.publish(
                Advertise(id=self._dea, available_memory=available, runtimes=runtimes)
            )

    def heartbeat(self, instances: Iterable[Instance]) -> None:
        """The state of *instances*; nothing when there are none."""
        if droplets := [instance.heartbeat() for instance in instances]:
            self._kit.publish(Heartbeat(droplets=droplets, dea=self._dea))

    def register(self, instance: Instance, uris: list[str]) -> None:
        """Requests for *uris* may go to *instance* now. Nothing without a URI or a port."""
        if not uris or instance.port is None:
            return
        order = instance.order
        instance.registered += [uri for uri in uris if uri not in instance.registered]
        for alike, routing in _alike(uris, instance.routing):
            self._kit.publish(
                RouterRegister(
                    dea=self._dea,
                    app=order.app_id or instance.droplet,
                    host=instance.host,
                    port=instance.port,
                    uris=alike,
                    tags=_tags(instance),
                    private_instance_id=instance.private_id,
                    private_instance_index=str(order.index),
                    options=routing.options,
                    route_service_url=routing.route_service_url,
                )
            )

    def unregister(self, instance: Instance, uris: list[str]) -> None:
        """Requests for *uris* must no longer go to *instance*. Nothing when none did."""
        uris = [uri for uri in uris if uri in instance.registered]
        if not uris or instance.port is None:
            return
        order = instance.order
        instance.registered = [uri for uri in instance.registered if uri not in uris]
        self._kit.publish(
            RouterUnregister(
                dea=self._dea,
                app=order.app_id or instance.droplet,
                host=instance.host,
                port=instance.port,
                uris=uris,
                tags=_tags(instance),
                private_instance_id=instance.private_id,
            )
        )

    def exited(self, instance: Instance, reason: str) -> None:
        """*instance* is gone: STOPPED, CRASHED or DEA_SHUTDOWN."""
        self._kit.publish(
            DropletExited(
                droplet=instance.droplet,
                version=instance.order.version,
                instance=instance.id,
                index=instance.order.index,
                reason=reason,
                cc_partition=instance.order.cc_partition,
                crash_timestamp=int(instance.since) if reason == "CRASHED" else None,
                exit_status=instance.exit_status,
                exit_description=instance.exit_description,
                dea=self._dea,
            )
        )


def _alike(uris: list[str], routing: Mapping[str, Routing]) -> Iterator[tuple[list[str], Routing]]:
    """*uris* in groups that one registration can carry: whose routes ask for the same."""
    groups: dict[Routing, list[str]] = {}
    for uri in uris:
        groups.setdefault(routing.get(uri, PLAIN), []).append(uri)
    for asked, alike in groups.items():
        yield alike, asked


def _tags(instance: Instance) -> dict[str, str]:
    told = {"framework": instance.order.framework, "runtime": instance.order.runtime}
    return {name: value for name, value in told.items() if value}
