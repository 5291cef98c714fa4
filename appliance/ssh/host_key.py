"""The key by which clients know the ssh room: made once, kept with the state."""

from __future__ import annotations

import binascii
import hashlib
import os
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.process.spawner import Spawner

PROGRAM = Path(__file__).with_name("make_host_key.py")
NAME = "host_key"
PATIENCE = 30.0  # seconds for what takes 0.1
END = b"-----END OPENSSH PRIVATE KEY-----\n"


class NoHostKey(ApplianceError):
    """There is no key, and none can be made."""

    code, status, exit_code = "no-host-key", 500, 12


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKey:
    """Both parts, as files of OpenSSH have them."""

    private: bytes
    public: bytes

    @classmethod
    def parse(cls, text: bytes) -> HostKey:
        """The private part and, after it, the public one.

        Raises:
          ValueError: it is something else.
        """
        private, end, public = text.partition(END)
        key = cls(private=private + end, public=public.strip())
        if not end or not key.public.startswith(b"ssh-ed25519 "):
            raise ValueError("not a host key")
        binascii.a2b_base64(key.public.split()[1], strict_mode=True)
        return key

    @property
    def fingerprint(self) -> str:
        """SHA-256 in base64 without padding: 43 characters."""
        digest = hashlib.sha256(b64decode(self.public.split()[1])).digest()
        return b64encode(digest).decode().rstrip("=")


async def host_key(spawner: Spawner, folder: Path | None) -> HostKey:
    """The key that is kept in *folder*, or a new one; without a folder always a new one.

    Raises:
      NoHostKey: what is kept is no key, or none can be made.
    """
    if folder is None:
        return await _made(spawner)
    path = folder / NAME
    if await trio.Path(path).exists():
        try:
            return HostKey.parse(await trio.Path(path).read_bytes())
        except (OSError, ValueError) as error:
            hint = "Remove it to get a new one, which clients will have to be told."
            raise NoHostKey(f"{path} is no host key: {error}.", hint=hint) from error
    key = await _made(spawner)
    await trio.to_thread.run_sync(_keep, key, path)
    return key


def _keep(key: HostKey, path: Path) -> None:
    """Write the file whole or not at all, for nobody but us."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "wb") as opened:
        opened.write(key.private + key.public + b"\n")
        opened.flush()
        os.fsync(file)
    temporary.replace(path)


async def _made(spawner: Spawner) -> HostKey:
    argv = (sys.executable, "-P", PROGRAM)
    done = await spawner.run(argv, env={"PATH": "/usr/bin:/bin"}, timeout=PATIENCE)
    try:
        return HostKey.parse(done.stdout)
    except ValueError:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else f"exit status {done.returncode}"
        raise NoHostKey(f"No host key could be made: {why}.") from None
