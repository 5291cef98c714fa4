"""Routes that lead to apps of other spaces, and routes that move to another space."""

from __future__ import annotations

from collections.abc import Sequence

from fake_controller.access import SUPPORTERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.conditions import is_
from fake_controller.domains import usable_in
from fake_controller.errors import unprocessable
from fake_controller.model import Domain, Route, Space
from fake_controller.routing.destinations import url_of


def share(acting: Acting, route: Route, spaces: Sequence[str]) -> Route:
    """Let apps of *spaces* be destinations of *route*, too.

    Raises:
      CloudError: 422, some spaces are not there, may not be changed, or have the route.
    """
    acting.need_enabled("route_sharing")
    url = url_of(acting, route)
    unseen = [guid for guid in spaces if acting.sees(Space, guid) is None]
    fixed = [guid for guid in spaces if guid not in unseen and not may_change(acting, guid)]
    errors = []
    if unseen:
        errors.append(
            f"Unable to share route {url} with spaces [{_listed(unseen)}]. Ensure the spaces "
            "exist and that you have access to them."
        )
    if fixed:
        errors.append(
            f"Unable to share route {url} with spaces [{_listed(fixed)}]. Write permission is "
            "required in order to share a route with a space and the containing organization "
            "must not be suspended."
        )
    if errors:
        raise unprocessable("\n".join(errors))
    if route.space_guid in spaces:
        raise unprocessable(
            f"Unable to share route '{url}' with space '{route.space_guid}'. Routes cannot be "
            "shared into the space where they were created."
        )
    shared = tuple(dict.fromkeys([*route.shared_space_guids, *spaces]))
    acting.audit("audit.route.share", route, {"target_space_guids": list(spaces)})
    return acting.tx.change(route, shared_space_guids=shared)


def unshare(acting: Acting, route: Route, space: str) -> Route:
    """Let apps of *space* no longer become destinations; those that are stay."""
    acting.need_enabled("route_sharing")
    url = url_of(acting, route)
    if why := _closed(acting, space):
        raise unprocessable(f"Unable to unshare route '{url}' from space '{space}'. {why}")
    if space == route.space_guid:
        raise unprocessable(
            f"Unable to unshare route '{url}' from space '{space}'. Routes cannot be removed "
            "from the space that owns them."
        )
    left = tuple(guid for guid in route.shared_space_guids if guid != space)
    acting.audit("audit.route.unshare", route, {"target_space_guid": space})
    return acting.tx.change(route, shared_space_guids=left)


def transfer(acting: Acting, route: Route, space: str) -> Route:
    """Give *route* to *space*; the space that had it goes on sharing it."""
    acting.need_enabled("route_sharing")
    url = url_of(acting, route)
    refused = f"Unable to transfer owner of route '{url}' to space '{space}'."
    if why := _closed(acting, space):
        raise unprocessable(f"{refused} {why}")
    target = acting.tx.need(Space, space)
    usable = usable_in(target.organization_guid)
    if not acting.tx.first(Domain, usable, guid=route.domain_guid):
        raise unprocessable(f"{refused} Target space does not have access to route's domain")
    if space == route.space_guid:
        return route
    shared = [guid for guid in route.shared_space_guids if guid != space]
    acting.audit("audit.route.transfer-owner", route, {"target_space_guid": space})
    return acting.tx.change(route, space_guid=space, shared_space_guids=(*shared, route.space_guid))


def may_change(acting: Acting, space: str) -> bool:
    """Whether *acting* manages routes in *space*."""
    rule = changed_in_space("guid", SUPPORTERS)
    return acting.tx.first(Space, is_("guid", space), rule(acting.access)) is not None


def _closed(acting: Acting, space: str) -> str:
    if acting.sees(Space, space) is None:
        return "Ensure the space exists and that you have access to it."
    if not may_change(acting, space):
        return "You don't have write permission for the target space."
    return ""


def _listed(guids: Sequence[str]) -> str:
    return ", ".join(f"'{guid}'" for guid in guids)
