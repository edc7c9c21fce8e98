"""What a replica knew when it wrote, as its proxy saw it: which changes had reached it by then.

Knows the versions in what passes through a proxy. Refuses to know zenlead. The rule: in doubt a replica knew
less, so what is held against it was surely before its eyes.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

from tests.cluster.history import Knowledge
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.cluster.faultproxy import Asked
    from tests.cluster.recorder import Revision
    from tests.cluster.watchstream import Listener

VERSION = re.compile(rb'"resourceVersion":"(\d+)"')  # the first one is the object's, or the list's
NAMESPACE = re.compile(r"/namespaces/([^/]+)/")
BOOKMARK = b'{"type":"BOOKMARK"'
MORE_PAGES = b'"continue":"'
ONE = "1"
# From a line's leaving the proxy until the replica has read it, decided and sent: some milliseconds, on cores
# that are busy with a whole control plane more.
READING_S = 1.5

SAME_S = 0.5  # a deletion is seen about when it is answered; else it was not this one, but a collector's


class Passage(Protocol):
    """Where all that a replica hears and says comes through."""

    delivered: Listener | None
    written: Listener | None


class Witness:
    """Listens at a passage. ``blind`` are spans in which nothing that passed was sure to be read.

    ``reading_s``: how long it takes at most from a line's passing to a decision that knows it.
    """

    def __init__(self, passage: Passage, reading_s: float = READING_S) -> None:
        self._reading_s = reading_s
        self.blind: list[tuple[float, float]] = []
        # Version of a slice: when the replica asked for it, and of which namespace it is.
        self.wrote: dict[int, tuple[float, str]] = {}
        # When it asked, when it was done, which slice and of which namespace.
        self.deleted: list[tuple[float, float, str, str]] = []
        # By kind and namespace, for watches of all of them "": times, and the versions of the world that had
        # been delivered by then, rising. Each kind has a watch of its own, and one may lag behind the other.
        self._delivered: dict[tuple[str, str], tuple[list[float], list[int]]] = {}
        self._complete: set[int] = set()  # initial streams, by id, that have said what there was
        passage.delivered = self._deliver
        passage.written = self._write

    def __repr__(self) -> str:
        return f"Witness(wrote={len(self.wrote)} blind={len(self.blind)})"

    def knew(self, at: float, namespace: str) -> Knowledge | None:
        """What of a namespace the replica surely knew at ``at``."""
        at -= self._reading_s
        for start, end in reversed(self.blind):
            if start - self._reading_s <= at <= end:
                at = start - self._reading_s
        pods, services = (self._reached(kind, namespace, at) for kind in (PODS.plural, SERVICES.plural))
        return None if pods is None or services is None else Knowledge(pods, services)

    def _reached(self, kind: str, namespace: str, at: float) -> int | None:
        known: list[int] = []
        for watched in {(kind, namespace), (kind, "")} & self._delivered.keys():
            times, versions = self._delivered[watched]
            if reached := bisect_right(times, at):
                known.append(versions[reached - 1])
        return min(known, default=None)

    def _deliver(self, asked: Asked, content: bytes) -> None:
        kind = next((kind.plural for kind in (PODS, SERVICES) if asked.of(kind)), None)
        if kind is None:
            return
        if "sendInitialEvents" in asked.query:
            # Its objects come in no order, until a bookmark says that this was all; from then on as ever.
            if id(asked) not in self._complete and not content.startswith(BOOKMARK):
                return
            self._complete.add(id(asked))
        elif not asked.is_watch and (MORE_PAGES in content or asked.query.get("limit") == ONE):
            return  # a question for the version is not read for its object
        found = VERSION.search(content)
        times, versions = self._delivered.setdefault((kind, _namespace(asked)), ([], []))
        if found is not None and (not versions or int(found[1]) > versions[-1]):
            times.append(asyncio.get_running_loop().time())
            versions.append(int(found[1]))

    def _write(self, asked: Asked, content: bytes) -> None:
        if not asked.of(ENDPOINT_SLICES):
            return
        if asked.method == "DELETE":
            now = asyncio.get_running_loop().time()
            self.deleted.append((asked.at, now, asked.path.rpartition("/")[2], _namespace(asked)))
        elif found := VERSION.search(content):  # what changes nothing tells an old one
            self.wrote.setdefault(int(found[1]), (asked.at, _namespace(asked)))


def _namespace(asked: Asked) -> str:
    found = NAMESPACE.search(asked.path)
    return found[1] if found is not None else ""


def known_to_writers(
    witnesses: Sequence[Witness], log: Iterable[Revision]
) -> Callable[[int], Knowledge | None]:
    """For ``judge``: from a version of a slice to what its writer knew; None: the writer is not known."""
    deleted = {
        int(r.body["metadata"]["resourceVersion"]): (r.name, r.at)
        for r in log
        if r.resource == ENDPOINT_SLICES.plural and r.type == "DELETED"
    }

    def known(version: int) -> Knowledge | None:
        if version in deleted:
            name, by = deleted[version]
            asked = [
                (at, namespace, w)
                for w in witnesses
                for at, done, what, namespace in w.deleted
                if what == name and abs(done - by) < SAME_S
            ]
        else:
            asked = [(*w.wrote[version], w) for w in witnesses if version in w.wrote]
        if not asked:
            return None
        at, namespace, writer = max(asked, key=lambda found: found[0])
        return writer.knew(at, namespace)

    return known
