"""What can go wrong with a droplet in an archiver, as sentences."""

from __future__ import annotations

from appliance.kernel.errors import BadRequest, Conflict, NotFound, Unavailable


class BadDropletName(BadRequest):
    """A path that names no droplet; it is refused before anything is opened."""

    code = "bad-droplet-name"


class NoSuchDroplet(NotFound):
    """This archiver has never had the droplet, or it was deleted."""

    code = "no-such-droplet"

    def __init__(self, app_id: str, sha1: str) -> None:
        super().__init__(f"There is no droplet {sha1} of app {app_id} here.")


class DropletLost(Unavailable):
    """The droplet was stored here, but its file is gone or damaged; the peers are asked for it."""

    code, exit_code = "droplet-lost", 37
    hint = "Try another archiver; this one fetches it from its peers."

    def __init__(self, app_id: str, sha1: str, why: str = "is gone") -> None:
        super().__init__(f"The file of droplet {sha1} of app {app_id} {why}.")
        self.why = why


class SameName(Conflict):
    """Another content is stored under this SHA-1: two files were made to collide."""

    code, exit_code = "sha1-collision", 38
    hint = "Change any byte of the app and stage it again."

    def __init__(self, sha1: str) -> None:
        super().__init__(f"Another file with SHA-1 {sha1} is stored; this one was refused.")
