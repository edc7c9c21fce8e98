"""Child processes that never outlive the tests, and ports for them.

Knows processes, signals and ports. Refuses to know what runs in them. The rule not to break: every child is
started by ``spawn``, which ties its life to ours, however ours ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Below the range from which the kernel gives ports to outgoing connections, so that nobody takes a port
# between our looking and the child's binding, but for another run of ours, and those choose at random too.
# The workers of one run have each their own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = range(20000 + WORKER % 4 * 3000, 23000 + WORKER % 4 * 3000)
STOP_TIMEOUT_S = 10.0

# Runs in the child before it becomes the program: asks the kernel to kill it when its parent dies (Linux
# only), and looks whether that has happened already. It is a program of its own since code between fork and
# exec is unsafe in a process with threads.
_LAUNCHER = """
import os, signal, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == parent:
    os.execvp(command[0], command)
"""


_untried: list[int] = []


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on, and none that was given out just before: its
    program may not have bound it yet."""
    for _ in PORTS:
        if not _untried:
            _untried.extend(random.sample(PORTS, len(PORTS)))
        port = _untried.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of the ports {PORTS.start} to {PORTS.stop - 1} is free")


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own (Ctrl-C does not reach it), all output into ``log``.

    It is killed by the kernel when the calling thread ends without ``stop``: call this from a thread that
    stays, best the main one.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *command],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to a program and all its children; nothing happens when they are gone."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def stop(process: subprocess.Popen[bytes], timeout_s: float = STOP_TIMEOUT_S) -> int:
    """Asks politely, then kills; returns the exit code (negative: the signal)."""
    if process.poll() is None:
        signal_group(process, signal.SIGTERM)
        signal_group(process, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    signal_group(process, signal.SIGKILL)
    return process.wait()


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log file, for a person who looks at a failure."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
