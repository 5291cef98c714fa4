"""The JSON of an image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from appliance.registry.manifest import (
    CONFIG_TYPE,
    LAUNCH,
    MANIFEST_TYPE,
    TAR_GZIP_TYPE,
    Image,
    Layer,
    architecture_of,
    digest_of,
    make_image,
)

LAYER = Layer("sha256:" + "a" * 64, 10, "sha256:" + "b" * 64)


def image(command: str = "python3 app.py") -> Image:
    """An image of two layers."""
    return make_image(
        [(LAYER, "base"), (LAYER, "droplet")],
        command=command,
        created="2026-01-02T03:04:05Z",
        architecture="amd64",
    )


def test_manifest_describes_config_and_layers() -> None:
    """Digests and sizes are those of the bytes that are served."""
    made = image()
    manifest = json.loads(made.manifest)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == MANIFEST_TYPE
    assert manifest["config"] == {
        "mediaType": CONFIG_TYPE,
        "digest": digest_of(made.config),
        "size": len(made.config),
    }
    described = {"mediaType": TAR_GZIP_TYPE, "digest": LAYER.digest, "size": 10}
    assert manifest["layers"] == [described, described]
    assert made.digest == digest_of(made.manifest)


def test_config_has_what_every_runtime_wants() -> None:
    """os and architecture, one history entry per layer, a user that needs no passwd."""
    config = json.loads(image().config)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [LAYER.diff_id] * 2}
    assert len(config["history"]) == 2
    assert all(entry["created"] == config["created"] for entry in config["history"])
    run = config["config"]
    assert run["User"] == "2000:2000"
    assert run["WorkingDir"] == "/home/vcap/app"
    assert run["Cmd"] == ["python3 app.py"]
    assert run["ExposedPorts"] == {"8080/tcp": {}}
    assert all("=" in entry for entry in run["Env"])
    assert "PORT=8080" in run["Env"]


def test_no_command_no_cmd() -> None:
    """Without a start command, whoever runs the image says what to run."""
    assert "Cmd" not in json.loads(image(command="").config)["config"]


def test_same_input_same_bytes() -> None:
    """Digests do not change from one conversion to the next."""
    assert image() == image()


def test_launch_sources_profiles_and_becomes_the_command(tmp_path: Path) -> None:
    """The environment of all three places of profiles reaches the command, which is no child."""
    for path, text in {
        "deps/0/profile.d/a.sh": 'export ONE="deps $(basename $PWD)"',
        "profile.d/b.sh": "export TWO=profile",
        "app/.profile.d/c.sh": "export THREE=old",
        "app/.profile": "export FOUR=own",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    script = LAUNCH.replace("/home/vcap", str(tmp_path))
    told = 'echo "$ONE, $TWO, $THREE, $FOUR, $(basename $PWD)"'
    done = subprocess.run(
        ["/bin/bash", "-c", script, "launch", told], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"deps {tmp_path.name}, profile, old, own, app\n"
    pids = subprocess.Popen(
        ["/bin/bash", "-c", script, "launch", "echo $$"], stdout=subprocess.PIPE, text=True
    )
    out, _ = pids.communicate()
    assert int(out) == pids.pid


def test_architecture() -> None:
    """Go's names."""
    assert architecture_of("x86_64") == "amd64"
    assert architecture_of("aarch64") == "arm64"
    assert architecture_of("riscv64") == "riscv64"
