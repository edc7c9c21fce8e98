"""Counters and histograms of many owners, kept as bare numbers: what a series is, and its lines of text.

Knows families, their label values, and how numbers lie in an owner's ledger. Refuses to know who owns a
ledger. The rule not to break: memory follows what really happened. Numbers exist only for label values that
occurred, and names, labels and text are shared by all ledgers to which the same things happened.

Why not prometheus_client's children: each costs 0.7 KB (a counter) to 4.5 KB (a histogram) for each Service.
Source of the text: Prometheus' "Exposition formats", text 0.0.4, whose sample lines OpenMetrics shares.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal
from weakref import WeakValueDictionary

from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["counter", "gauge", "histogram"]

NO_MARKS: Mapping[int, str] = MappingProxyType({})
_BYTES = 8  # of a number; as a double it counts exactly up to 2**53


class Family:
    """One metric: its name, labels and buckets. ``owner_labels`` come first and are the ledger's."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        about: str,
        owner_labels: Sequence[str],
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.about = about
        self.labels = (*owner_labels, *labels)
        self.of_services = "service" in owner_labels
        self.bounds = tuple(buckets)
        self._own_labels = tuple(labels)
        self._slots: WeakValueDictionary[tuple[str, ...], Slot] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<Family {self.name} slots={len(self._slots)}>"

    def slot(self, *values: str) -> Slot:
        """The place for these values of the labels that are not the owner's."""
        found = self._slots.get(values)
        if found is None:
            found = self._slots[values] = Slot(self, tuple(zip(self._own_labels, values, strict=True)))
        return found

    def head(self, *, openmetrics: bool) -> str:
        """The lines above the samples."""
        name = self.name
        if openmetrics and self.kind == "counter":
            name = name.removesuffix("_total")
        return f"# HELP {name} {self.about}\n# TYPE {name} {self.kind}\n"


class Slot:
    """One series of a family but for its owner; of a histogram, the buckets, the sum and the count."""

    __slots__ = ("__weakref__", "_lines", "family", "labels", "width")

    def __init__(self, family: Family, labels: tuple[tuple[str, str], ...]) -> None:
        self.family = family
        self.labels = labels
        # A histogram's numbers: one for each bucket, which holds what fell into it alone, then the sum.
        self.width = len(family.bounds) + 2 if family.bounds else 1
        self._lines = _lines(family, labels)

    def __repr__(self) -> str:
        return f"<Slot {self.family.name} {dict(self.labels)}>"

    def text(self, owner: str, numbers: array[float], at: int, marks: Mapping[int, str] = NO_MARKS) -> str:
        """The lines of this series for the owner whose labels are ``owner``; ``marks`` go behind values."""
        values = [str(int(numbers[at]))]
        if self.width > 1:
            end = at + self.width - 1
            values = list(map(str, accumulate(map(int, numbers[at:end]))))
            values += (repr(numbers[end]), values[-1])
        for line, mark in marks.items():
            values[line] += mark
        lines = self._lines.copy()
        lines[_OWNERS] = [owner] * len(values)
        lines[_VALUES] = values
        return "".join(lines)


# The lines of a slot are kept in pieces, four for each line: up to the owner's labels, the owner's labels, up
# to the value, the value. Filling places and joining is twice as fast as replacing and formatting.
_OWNERS = slice(1, None, 4)
_VALUES = slice(3, None, 4)


def _lines(family: Family, labels: tuple[tuple[str, str], ...]) -> list[str]:
    own = "".join(f',{key}="{escaped(value)}"' for key, value in labels)
    if not family.bounds:
        series = [(family.name, "")]
    else:
        bounds = [*map(floatToGoString, family.bounds), "+Inf"]
        series = [(f"{family.name}_bucket", f',le="{bound}"') for bound in bounds]
        series += [(f"{family.name}_sum", ""), (f"{family.name}_count", "")]
    pieces: list[str] = []
    for number, (name, last) in enumerate(series):
        pieces += (f"\n{name}{{" if number else f"{name}{{", "", f"{own}{last}}} ", "")
    return [*pieces, "\n"]


def escaped(value: str) -> str:
    """A label's value as it stands between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Layout:
    """Where the numbers of some slots lie; one for all ledgers that have just these slots."""

    __slots__ = ("__weakref__", "at", "by_family", "slots", "width")

    _known: ClassVar[WeakValueDictionary[tuple[Slot, ...], Layout]] = WeakValueDictionary()

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        self.slots = slots
        self.at: dict[Slot, int] = {}
        self.by_family: dict[Family, list[tuple[Slot, int]]] = {}
        self.width = 0
        for slot in slots:
            self.at[slot] = self.width
            self.by_family.setdefault(slot.family, []).append((slot, self.width))
            self.width += slot.width

    def __repr__(self) -> str:
        return f"<Layout slots={len(self.slots)} width={self.width}>"

    @classmethod
    def of(cls, slots: tuple[Slot, ...]) -> Layout:
        """The one layout of these slots."""
        ordered = tuple(sorted(slots, key=lambda slot: (slot.family.name, slot.labels)))
        found = cls._known.get(ordered)
        if found is None:
            found = cls._known[ordered] = cls(ordered)
        return found


def _zeros(width: int) -> array[float]:
    return array("d", bytes(_BYTES * width))


class Ledger:
    """The numbers of one owner."""

    __slots__ = ("_layout", "_marks", "_numbers")

    def __init__(self, layout: Layout) -> None:
        """All slots of ``layout`` begin at zero."""
        self._layout = layout
        self._numbers = _zeros(layout.width)
        self._marks: dict[Slot, dict[int, str]] | None = None  # exemplars: one for each bucket, at most

    def __repr__(self) -> str:
        return f"<Ledger {self._layout!r}>"

    def add(self, slot: Slot, amount: float = 1) -> None:
        """So many more."""
        self._numbers[self._place(slot)] += amount

    def observe(self, slot: Slot, value: float, mark: str = "") -> None:
        """One more in the bucket of ``value``, and ``value`` more in the sum. ``mark`` is its exemplar, as it
        stands behind the bucket's line in OpenMetrics; the latest one of each bucket is kept."""
        at = self._place(slot)
        bounds = slot.family.bounds
        bucket = bisect_left(bounds, value)
        self._numbers[at + bucket] += 1
        self._numbers[at + len(bounds) + 1] += value
        if mark:
            self._marks = self._marks or {}
            self._marks.setdefault(slot, {})[bucket] = mark

    def text(self, family: Family, owner: str, *, marked: bool = False) -> str:
        """The lines of all series of ``family`` here, none when there are none; exemplars if ``marked``."""
        marks = (self._marks if marked else None) or {}
        found = self._layout.by_family.get(family, ())
        return "".join([slot.text(owner, self._numbers, at, marks.get(slot, NO_MARKS)) for slot, at in found])

    def _place(self, slot: Slot) -> int:
        at = self._layout.at.get(slot)
        if at is None:
            self._layout = layout = Layout.of((*self._layout.slots, slot))
            at = layout.at[slot]
            self._numbers[at:at] = _zeros(slot.width)
        return at


class Counting:
    """One series as whoever counts it himself sees it; ``inc`` as prometheus_async asks for it."""

    def __init__(self, ledger: Ledger, slot: Slot) -> None:
        self._add = ledger.add
        self._slot = slot
        ledger.add(slot, 0)

    def __repr__(self) -> str:
        return f"<Counting {self._slot!r}>"

    def inc(self, amount: float = 1) -> None:
        """``amount`` more."""
        self._add(self._slot, amount)


EMPTY = Layout.of(())
