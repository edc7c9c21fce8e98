"""/healthz, /livez and /readyz: named checks, and what a probe is told about them.

Knows how to ask checks and how to word the answer. Refuses to know what they look at. The rule not to break:
a probe is answered from memory, at once; a check that would ask the API server has no place here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from zenlead.observe.http import Response

if TYPE_CHECKING:
    from zenlead.observe.http import Request, Route

Check = Callable[[], str | None]  # None: all is well; else words that say what is missing
Checks = Mapping[str, Check]


def routes(alive: Callable[[], Checks], ready: Callable[[], Checks]) -> dict[str, Route]:
    """The three paths of Kubernetes' probes. ``alive`` answers /healthz and /livez, ``ready`` /readyz. Each
    is asked for its checks every time: what is checked may come and go."""
    return {
        "/healthz": _route("healthz", alive),
        "/livez": _route("livez", alive),
        "/readyz": _route("readyz", ready),
    }


def _route(name: str, checks: Callable[[], Checks]) -> Route:
    async def respond(request: Request) -> Response:
        found = {check: _ask(ask) for check, ask in checks().items()}
        failed = any(found.values())
        if not failed and not request.asks_for("verbose"):
            return Response(200, b"ok\n")
        lines = [f"[-]{check}: {words}" if words else f"[+]{check} ok" for check, words in found.items()]
        lines.append(f"{name} check {'failed' if failed else 'passed'}")
        return Response(503 if failed else 200, "".join(f"{line}\n" for line in lines).encode())

    return respond


def _ask(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        return f"the check itself failed: {type(error).__name__}: {error}"
