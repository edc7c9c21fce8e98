"""What a replica knew when it wrote, as its proxy saw it: which changes of pods had reached it by then.

Knows the versions in what passes through a proxy. Refuses to know zenlead. The rule: in doubt a replica knew
less, so what is held against it was surely before its eyes.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from zenlead.kube.resources import ENDPOINT_SLICES, PODS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.recorder import Revision

VERSION = re.compile(rb'"resourceVersion":"(\d+)"')  # the first one is the object's, or the list's
BOOKMARK = b'{"type":"BOOKMARK"'
MORE_PAGES = b'"continue":"'
# From a line's leaving the proxy until the replica has read it, decided and sent: some milliseconds, on cores
# that are busy with a whole control plane more.
READING_S = 1.5


class Witness:
    """Listens at a replica's proxy. ``blind`` are spans in which nothing that passed was sure to be read."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.blind: list[tuple[float, float]] = []
        self.wrote: dict[int, float] = {}  # version of a slice: when the replica asked for it
        self.deleted: list[tuple[float, str]] = []  # when it asked, and which slice
        self._times: list[float] = []
        self._versions: list[int] = []  # of the world of pods that had been delivered by then, rising
        self._complete: set[int] = set()  # initial streams, by id, that have said what there was
        proxy.delivered = self._deliver
        proxy.written = self._write

    def __repr__(self) -> str:
        return f"Witness(port={self.proxy.port} wrote={len(self.wrote)} blind={len(self.blind)})"

    def knew(self, at: float) -> int | None:
        """Up to which version of the pods the replica surely knew them at ``at``."""
        at -= READING_S
        for start, end in reversed(self.blind):
            if start - READING_S <= at <= end:
                at = start - READING_S
        reached = bisect_right(self._times, at)
        return self._versions[reached - 1] if reached else None

    def _deliver(self, asked: Asked, content: bytes) -> None:
        if not asked.of(PODS):
            return
        if "sendInitialEvents" in asked.query:
            # Its objects come in no order, until a bookmark says that this was all; from then on as ever.
            if id(asked) not in self._complete and not content.startswith(BOOKMARK):
                return
            self._complete.add(id(asked))
        elif not asked.is_watch and MORE_PAGES in content:
            return
        found = VERSION.search(content)
        if found is not None and (not self._versions or int(found[1]) > self._versions[-1]):
            self._times.append(asyncio.get_running_loop().time())
            self._versions.append(int(found[1]))

    def _write(self, asked: Asked, content: bytes) -> None:
        if not asked.of(ENDPOINT_SLICES):
            return
        if asked.method == "DELETE":
            self.deleted.append((asked.at, asked.path.rpartition("/")[2]))
        elif found := VERSION.search(content):
            self.wrote.setdefault(int(found[1]), asked.at)  # what changes nothing tells an old one


def known_to_writers(witnesses: Sequence[Witness], log: Iterable[Revision]) -> Callable[[int], int | None]:
    """For ``judge``: from a version of a slice to what its writer knew; None: the writer is not known."""
    deleted = {
        int(r.body["metadata"]["resourceVersion"]): (r.name, r.at)
        for r in log
        if r.resource == ENDPOINT_SLICES.plural and r.type == "DELETED"
    }

    def known(version: int) -> int | None:
        if version in deleted:
            name, by = deleted[version]
            asked = [(at, w) for w in witnesses for at, what in w.deleted if what == name and at <= by]
        else:
            asked = [(w.wrote[version], w) for w in witnesses if version in w.wrote]
        if not asked:
            return None
        at, writer = max(asked, key=lambda found: found[0])
        return writer.knew(at)

    return known
