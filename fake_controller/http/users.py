"""Users, as the controller knows them; their passwords are UAA's."""

from __future__ import annotations

from fake_controller import present
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import User

USERS = Listing(
    kind=User,
    filters={"usernames": "username", "guids": "guid", "origins": "origin"},
    present=lambda record, base, _: present.user(record, base),
)


def routes(api: Api) -> None:
    """``/v3/users``."""
    api.lists("/v3/users", USERS)
    api.shows("/v3/users/<guid>", USERS)
    api.labels("/v3/users/<guid>", USERS)
