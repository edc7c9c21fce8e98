"""All metrics as text, piece by piece, so that whoever sends it can let others work in between.

Knows the order of the text and who has lines in which family. Refuses to know when a piece is asked for, and
how it is sent. The rule not to break: all lines of a family stand together, and a piece is the work of one
owner, so it takes some microseconds whatever the number of Services.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from zenlead.observe.families import escaped
from zenlead.observe.gauges import OF_CACHES, OF_NAMESPACES, OF_SERVICES, Moment
from zenlead.observe.series import NO_NAMESPACE, NO_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import CollectorRegistry

    from zenlead.observe.families import Family, Ledger
    from zenlead.observe.gauges import OfServices, Rooms
    from zenlead.observe.series import Books

_END = b"# EOF\n"  # of an OpenMetrics text


class Exposition:
    """``pieces`` of text from a registry (few series) and from books (very many)."""

    def __init__(
        self, registry: CollectorRegistry, families: Sequence[Family], books: Books, rooms: Rooms
    ) -> None:
        self._registry = registry
        self._families = families
        self._books = books
        self._rooms = rooms

    def __repr__(self) -> str:
        return f"<Exposition {self._books!r}>"

    def pieces(self, moment: Moment, *, openmetrics: bool) -> Iterator[str]:
        """The text; some pieces are empty. To be asked for on the thread that runs the controller, and the
        numbers are those of the time when their piece is asked for."""
        encode: Callable[[CollectorRegistry], bytes] = (
            generate_openmetrics if openmetrics else generate_latest
        )
        yield encode(self._registry).removesuffix(_END).decode()
        for family in self._families:
            yield family.head(openmetrics=openmetrics)
            for owner, ledger in self._owners(family):
                yield ledger.text(family, owner, marked=openmetrics)
        for gauge in OF_SERVICES:
            yield gauge.family.head(openmetrics=openmetrics)
            yield from self._of_services(gauge, moment)
        for family, value in OF_NAMESPACES:
            yield family.head(openmetrics=openmetrics)
            for namespace in self._books.namespaces():
                yield _line(family, namespace.labels, value(namespace) if namespace.told else None)
        for family, ask in OF_CACHES:
            yield family.head(openmetrics=openmetrics)
            for namespace in self._books.namespaces():
                cache = self._rooms.cache(namespace.name)
                yield _line(family, namespace.labels, ask(cache) if cache is not None else None)
        if openmetrics:
            yield _END.decode()

    def _owners(self, family: Family) -> Iterator[tuple[str, Ledger]]:
        books = self._books
        if not family.of_services:
            namespaces = ((of.labels, of.ledger) for of in books.namespaces())
            return chain([(NO_NAMESPACE, books.nobody)], namespaces)
        if books.per_service:
            services = ((of.labels, of.ledger) for of in books.services() if of.ledger is not None)
            return chain([(NO_SERVICE, books.nobody)], services)
        sums = ((f'{of.labels},service=""', of.ledger) for of in books.namespaces())
        return chain([(NO_SERVICE, books.nobody)], sums)

    def _of_services(self, gauge: OfServices, moment: Moment) -> Iterator[str]:
        family = gauge.family
        if self._books.per_service:
            for of in self._books.services():
                state = of.state
                if state is not None:
                    labels = of.labels
                    if gauge.reason is not None:
                        labels += f',reason="{escaped(gauge.reason(state))}"'
                    yield _line(family, labels, gauge.of_service(state, of, moment))
        else:
            for namespace in self._books.namespaces():
                value = gauge.of_namespace(namespace, moment) if namespace.told else None
                yield _line(family, f'{namespace.labels},service=""', value)


def _line(family: Family, labels: str, value: float | None) -> str:
    if value is None:
        return ""
    shown = repr(value) if isinstance(value, float) else str(int(value))
    return f"{family.name}{{{labels}}} {shown}\n"
