"""Programs that ask for tokens: those that every installation has, and those that were added."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest

from fake_controller.model import Client
from fake_controller.store import Tx
from fake_controller.tokens import password_matches

GRANTS = ("password", "refresh_token", "client_credentials", "authorization_code")
REGISTRY = "registry"

#: Known from the start. ``cf`` has the empty secret, the registry's is the installation's.
BUILT_IN = {
    client.guid: client
    for client in (
        Client(
            guid="cf",
            created_at=0,
            updated_at=0,
            name="Cloud Foundry command line",
            grants=("password", "refresh_token"),
        ),
        Client(
            guid=REGISTRY,
            created_at=0,
            updated_at=0,
            name="Registry",
            authorities=("cloud_controller.admin_read_only", "uaa.none"),
        ),
    )
}


def find_client(tx: Tx, client_id: str) -> Client | None:
    """The client, or None."""
    return BUILT_IN.get(client_id) or tx.get(Client, client_id)


def secret_matches(client: Client | None, secret: str, secrets: Mapping[str, str]) -> bool:
    """Whether *secret* is the client's; takes the same time when there is no such client.

    Args:
      secrets: The installation's, by client.
    """
    if client is not None and client.guid == REGISTRY:
        return compare_digest(secret.encode(), secrets[REGISTRY].encode())
    if client is not None and not client.secret:
        return not secret
    return password_matches(secret, client.secret if client else "")
