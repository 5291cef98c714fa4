"""A progress bar: on a terminal, for transfers that are long enough to be watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.commands.screen import Screen, colored

WORTHWHILE = 4 * 1024 * 1024  # bytes; less is over before a bar is drawn


@contextmanager
def bar(screen: Screen, label: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """Draw a bar while the block runs; call what it yields with the number of bytes done.

    Yields None where a bar would disturb: in pipes, in JSON mode, and for small transfers.
    """
    if not screen.live or total < WORTHWHILE:
        yield None
        return
    # Rich costs as much as a whole push of a small app may take.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn())  # fmt: skip
    console = Console(no_color=not colored())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
