"""The programs of one instance: the main one, and its sidecars in the same sandbox.

An instance without sidecars is its one program. With some, a small supervisor is the first
program of the sandbox: it starts all of them, and tells of each one's end.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from appliance.dea.ending import shell_status
from appliance.dea.launch import LAUNCHER, Launch
from appliance.dea.messages import Start
from appliance.kernel.process.profile import Profile
from appliance.kernel.process.spawner import Child, Spawner

MAIN = 0  # the number of the main program; sidecars follow
REPORT = 4096  # bytes; what the supervisor ever says is less

#: Arguments: a descriptor to report to, the launcher, the number of sidecars, for each one the
#: descriptors of its outputs and its memory, then the main program. Commands come by the
#: environment, since the machine's list of processes shows arguments. Each program and the
#: shell that waits for it are a group, so that one signal reaches all of it.
SUPERVISOR = r"""
report=$1 launcher=$2 sidecars=("${@:4:3 * $3}") count=$3 pids=()
shift $((3 + 3 * count))
exec {out}>&1 {err}>&2 2> /dev/null
set -m
trap '[ ${#pids[@]} = 0 ] && exit 143; kill -TERM -- "${pids[@]/#/-}"' TERM
run() {
  (
    trap : TERM
    number=$1 said=$2 complained=$3
    shift 3
    (
      exec >&"$said" 2>&"$complained" {report}>&- {out}>&- {err}>&-
      for ((n = 0; n < 3 * count; n += 3)); do
        eval "exec ${sidecars[n]}>&- ${sidecars[n + 1]}>&-"
      done
      exec "$@"
    )
    echo $number $? >&$report
  ) &
  pids+=($!)
}
for ((n = 1; n <= count; n++)); do
  command=VCAP_SIDECAR_$n
  commands[n]=${!command}
  unset $command
done
run 0 $out $err "$@"
for ((n = 1; n <= count; n++)); do
  export VCAP_START_COMMAND=${commands[n]} MEMORY_LIMIT=${sidecars[3 * n - 1]}m
  run $n "${sidecars[@]:3 * n - 3:2}" /bin/bash -c "$launcher" launcher
done
exec {out}>&- {err}>&-
until wait; do :; done
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One pipe of one program."""

    program: int
    error: bool
    stream: trio.lowlevel.FdStream


@dataclass(eq=False, kw_only=True)
class Programs:
    """All programs of one instance, which run in one sandbox; *child* stands for it."""

    child: Child
    outputs: list[Output]
    report: trio.lowlevel.FdStream | None = None
    one_ended: trio.Event = field(default_factory=trio.Event)
    ended: dict[int, int] = field(default_factory=dict)  # status by number, in order of their ends

    async def wait(self) -> None:
        """Wait for the end of all of them."""
        await self.child.wait()
        if self.report is None:
            self._end(MAIN, shell_status(self.child.returncode or 0))

    async def listen(self) -> None:
        """Learn from the supervisor who has ended, until it is gone itself."""
        said = b""
        while self.report and len(said) < REPORT:
            chunk = await self.report.receive_some(REPORT)
            if not chunk:
                return
            *lines, said = (said + chunk).split(b"\n")
            for line in lines:
                if end := parse_end(line, len(self.outputs) // 2):
                    self._end(*end)

    @property
    def status(self) -> tuple[int, int]:
        """Number and status of the program that ended first, which is why the others did."""
        unknown = MAIN, shell_status(self.child.returncode or 0)
        return next(iter(self.ended.items()), unknown)

    def _end(self, number: int, status: int) -> None:
        self.ended.setdefault(number, status)
        self.one_ended.set()


def parse_end(line: bytes, programs: int) -> tuple[int, int] | None:
    """Number and status in one *line* of a report on so many *programs*.

    None for anything else: where we are no root ourselves, the programs' user owns our pipes,
    and can write to them.
    """
    found = re.fullmatch(rb"([0-9]{1,3}) ([0-9]{1,3})", line)
    if found is None:
        return None
    number, status = int(found[1]), int(found[2])
    return (number, status) if number < programs and status < 256 else None


@asynccontextmanager
async def open_programs(
    spawner: Spawner, profile: Profile, plan: Launch, order: Start
) -> AsyncIterator[Programs]:
    """Start the main program by *plan*, and the sidecars of *order*; leaving the block kills all.

    Raises:
      SpawnFailed: as `Spawner.spawn`.
    """
    with ExitStack() as theirs:
        ours: list[trio.lowlevel.FdStream] = []

        def pipe() -> int:
            read, write = os.pipe()
            ours.append(trio.lowlevel.FdStream(read))
            theirs.callback(os.close, write)
            return write

        programs: Programs | None = None
        try:
            argv: Sequence[str] = plan.argv
            passed: list[int] = []
            if order.sidecars:
                passed = [pipe() for _ in range(1 + 2 * len(order.sidecars))]
                argv = supervised(argv, order, passed)
                commands = enumerate((one.command for one in order.sidecars), 1)
                named = {f"VCAP_SIDECAR_{number}": command for number, command in commands}
                profile = replace(profile, env={**profile.env, **named})
            command = spawner.sandbox.command(profile, argv)
            child = await spawner.spawn(
                command.argv, env=command.env, cwd=command.cwd, pass_fds=passed
            )
            theirs.close()
            programs = Programs(
                child=child,
                outputs=[
                    Output(program=number // 2, error=bool(number % 2), stream=stream)
                    for number, stream in enumerate((child.stdout, child.stderr, *ours[1:]))
                    if stream is not None
                ],
                report=ours[0] if ours else None,
            )
            yield programs
        finally:
            if programs is not None:
                await programs.child.aclose()
            for stream in ours:
                await trio.aclose_forcefully(stream)


def supervised(argv: Sequence[str], order: Start, pipes: Sequence[int]) -> list[str]:
    """The supervisor's command line, for a main program and the sidecars of *order*.

    *pipes* are the descriptors that it inherits: for its report, then two for each sidecar.
    """
    words = ["/bin/bash", "-c", SUPERVISOR, "supervisor"]
    words += [str(pipes[0]), LAUNCHER, str(len(order.sidecars))]
    for number, sidecar in enumerate(order.sidecars):
        memory = sidecar.memory or order.limits.mem
        words += [str(pipes[2 * number + 1]), str(pipes[2 * number + 2]), str(memory)]
    return [*words, *argv]
