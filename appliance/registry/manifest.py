"""The JSON of an image: config and manifest, byte for byte the same for the same droplet. Pure.

Source: OCI Image Specification 1.1, “Image Configuration” and “Image Manifest”.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
TAR_TYPE = "application/vnd.oci.image.layer.v1.tar"
TAR_GZIP_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

USER = "2000:2000"  # by number: the rootfs need not know a user vcap
PORT = 8080

#: What every process has; values of one instance, and secrets, have no place in an image.
ENV: Mapping[str, str] = {
    "DEPS_DIR": "/home/vcap/deps",
    "HOME": "/home/vcap/app",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PORT": str(PORT),
    "TMPDIR": "/home/vcap/tmp",
    "USER": "vcap",
    "VCAP_APP_HOST": "0.0.0.0",
    "VCAP_APP_PORT": str(PORT),
}

#: Prepares the environment as a droplet's own ``startup`` does and becomes the command. It
#: is the image's entrypoint, so the command can be replaced: ``docker run IMAGE "ls -l"``.
LAUNCH = """\
cd /home/vcap
for script in deps/*/profile.d/*.sh profile.d/*.sh; do
  [ -f "$script" ] && . "$script"
done
cd app
for script in .profile.d/*.sh .profile; do
  [ -f "$script" ] && . "./$script"
done
exec /bin/bash -c "$*"
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, as it is stored and as it unpacks."""

    digest: str  # "sha256:…" of the stored bytes
    size: int  # bytes, stored
    diff_id: str  # "sha256:…" of the plain tar
    media_type: str = TAR_GZIP_TYPE


@dataclass(frozen=True, slots=True)
class Image:
    """Config and manifest as they are served; nobody serialises them again."""

    config: bytes
    manifest: bytes
    config_digest: str = field(init=False)
    digest: str = field(init=False)  # of the manifest

    def __post_init__(self) -> None:
        object.__setattr__(self, "config_digest", digest_of(self.config))
        object.__setattr__(self, "digest", digest_of(self.manifest))


def make_image(
    layers: Sequence[tuple[Layer, str]], *, command: str, created: str, architecture: str
) -> Image:
    """The image of *layers* (each with the words for its history), lowest first.

    Args:
      command: What the container runs; "" leaves it to whoever runs the image.
      created: RFC 3339; the droplet's own time, never that of the conversion.
      architecture: As Go names it: amd64, arm64, …
    """
    config = _json(
        {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": {
                "User": USER,
                "ExposedPorts": {f"{PORT}/tcp": {}},
                "Env": [f"{name}={value}" for name, value in sorted(ENV.items())],
                "Entrypoint": ["/bin/bash", "-c", LAUNCH, "launch"],
                **({"Cmd": [command]} if command else {}),
                "WorkingDir": "/home/vcap/app",
                "StopSignal": "SIGTERM",
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in layers]},
            "history": [{"created": created, "created_by": words} for _, words in layers],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": [
                {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
                for layer, _ in layers
            ],
            "annotations": {"org.opencontainers.image.created": created},
        }
    )
    return Image(config, manifest)


def empty_index() -> bytes:
    """The answer to who refers to an image: nobody."""
    return _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []})


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of *data*."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def architecture_of(machine: str) -> str:
    """Go's name for what ``uname -m`` says."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    return names.get(machine, machine)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
