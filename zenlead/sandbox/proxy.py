"""A stand-in for kube-proxy: which real loopback port is behind the address and port of a pod.

Knows the ports that pods have open. Refuses to know Services and slices: whoever connects reads those itself.
The rule: an address leads nowhere from the moment its pod stops.
"""

from __future__ import annotations

LOOPBACK = "127.0.0.1"


class Proxy:
    """Maps ``(pod address, port)`` to ``(127.0.0.1, real port)``."""

    def __init__(self) -> None:
        self._real: dict[tuple[str, int], int] = {}  # filled by open, emptied by close

    def __repr__(self) -> str:
        return f"Proxy(open={len(self._real)})"

    def open(self, address: str, port: int, real_port: int) -> None:
        """Let connections to a pod's port through to ``real_port``."""
        self._real[address, port] = real_port

    def close(self, address: str) -> None:
        """Let nothing through to that address any more."""
        for place in [place for place in self._real if place[0] == address]:
            del self._real[place]

    def resolve(self, address: str, port: int) -> tuple[str, int] | None:
        """Where to connect instead, or None: nothing listens there."""
        real = self._real.get((address, port))
        return None if real is None else (LOOPBACK, real)
