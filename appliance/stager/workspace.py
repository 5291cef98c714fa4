"""The folders of one staging task, in the shape that the droplet will have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.stager.errors import BuildFailed
from appliance.stager.files import open_folder


@dataclass(frozen=True, slots=True)
class Workspace:
    """One task's folder; *home* becomes the droplet, and is /home/vcap while building."""

    root: Path

    @property
    def home(self) -> Path:
        """The droplet's top."""
        return self.root / "home"

    @property
    def app(self) -> Path:
        """The app's files."""
        return self.home / "app"

    @property
    def deps(self) -> Path:
        """What the buildpacks install, in a folder each."""
        return self.home / "deps"

    @property
    def scratch(self) -> Path:
        """For files that no foreign program may change."""
        return self.root / "scratch"

    def make(self) -> None:
        """Make the folders of the droplet."""
        self.scratch.mkdir(mode=0o700)
        for folder in (self.app, self.deps, *map(self.home.joinpath, ("profile.d", "logs", "tmp"))):
            folder.mkdir(parents=True)

    def make_folder(self, name: str) -> None:
        """Make a new folder, *name* below `home`, where nothing of that name may be.

        Raises:
          BuildFailed: the build put something in its place.
        """
        folder, _, last = name.rpartition("/")
        above = self._open(folder)
        try:
            os.mkdir(last, 0o755, dir_fd=above)
        except FileExistsError:
            raise BuildFailed(f"The build made {name} by itself.") from None
        finally:
            os.close(above)

    def write(self, name: str, text: str, mode: int) -> None:
        """Write a file of the droplet's frame, *name* below `home`.

        The app's build could write to all of `home`: nothing that it left there is followed
        or written through, or a link would lead us out.

        Raises:
          BuildFailed: the build put something else in place of a folder.
        """
        folder, _, last = name.rpartition("/")
        above = self._open(folder)
        try:
            try:
                os.unlink(last, dir_fd=above)
            except FileNotFoundError:
                pass
            except OSError:
                raise BuildFailed(f"The build made {name} something else than a file.") from None
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(last, flags, mode, dir_fd=above), "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), mode)
        finally:
            os.close(above)

    def _open(self, folder: str) -> int:
        try:
            return open_folder(self.home, folder)
        except OSError:
            raise BuildFailed(f"The build removed or replaced the folder {folder}/.") from None
