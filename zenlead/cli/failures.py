"""What ended a command, in lines that a person can act on.

Knows the errors that a user can cause, and what to do about each. Refuses to know commands. The rule not to
break: one line per cause, no traceback.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

from zenlead.knobs import Given, problem
from zenlead.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from zenlead.settings import KNOB_BY_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zenlead.settings import Settings

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# What a listening socket fails with: taken, not permitted, not of this machine, no such name (or not now).
_NO_ADDRESS = frozenset(
    {
        errno.EADDRINUSE,
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        socket.EAI_NONAME,
        socket.EAI_AGAIN,
        socket.EAI_NODATA,
    }
)


def explain(error: Exception, settings: Settings) -> Iterator[str]:
    """A line for each error in ``error``, which may be a TaskGroup's group: what happened, what to do."""
    for leaf in _leaves(error):
        yield from _explain(leaf, settings)


def complain(lines: Iterable[str]) -> None:
    """Each line once, marked with who says it, to standard error."""
    for line in dict.fromkeys(lines):
        print(f"zenlead: {line}", file=sys.stderr)


def _leaves(error: Exception) -> Iterator[Exception]:
    """The errors inside a TaskGroup's group, outermost first."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _explain(error: Exception, settings: Settings) -> Iterator[str]:
    api = sys.modules.get("zenlead.kube.api")  # who raised its ConfigError has loaded it
    text = " ".join(str(error).split())
    if api is not None and isinstance(error, api.ConfigError):
        yield text
    elif isinstance(error, Unreachable):
        yield f"cannot reach the API server: {text}; check --kubeconfig, --context and the network"
    elif isinstance(error, Unauthorized):
        yield f"the API server does not accept these credentials: {text}; check --kubeconfig and --context"
    elif isinstance(error, Forbidden):
        yield f"not allowed by the API server: {text}; check the roles of this account"
    elif isinstance(error, ApiError):
        yield f"the API server refused: {text}"
    elif isinstance(error, OSError) and error.errno in _NO_ADDRESS:
        yield _explain_address(error, settings)
    else:
        yield f"unexpected {type(error).__name__}: {text}; --log-level=debug shows where"


def _explain_address(error: OSError, settings: Settings) -> str:
    """Which flag asked for the address that could not be had."""
    address = str(error.filename or "")
    for line in settings.effective():
        if line.flag.endswith("-bind-address") and str(KNOB_BY_FLAG[line.flag].parse(line.text)) == address:
            reason = f"cannot listen there: {error.strerror}; choose another, or 0 to switch it off"
            return problem(line.flag, Given(line.text, line.source), reason)
    return f"cannot listen on {address or 'a port'}: {error.strerror}"
