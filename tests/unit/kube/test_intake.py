"""A full list is taken over in pieces, and nobody ever sees a half of what others decide on."""

from __future__ import annotations

import msgspec

from zenlead.kube.intake import PIECE, Whole, pieces
from zenlead.kube.joint import Joint, Part
from zenlead.kube.store import Change, Key, Store
from zenlead.kube.watchevents import Swap


class View(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    note: int = 0
    resource_version: str = ""

    @property
    def key(self) -> Key:
        return self.namespace, self.name


def things(count: int, note: int = 0, namespace: str = "a") -> list[View]:
    return [View(namespace, f"x{number}", note) for number in range(count)]


def test_pieces_are_all_of_it() -> None:
    assert list(pieces(range(0))) == []
    assert [len(piece) for piece in pieces(range(2 * PIECE + 1))] == [PIECE, PIECE, 1]
    assert [number for piece in pieces(range(PIECE + 1)) for number in piece] == list(range(PIECE + 1))


def test_a_first_list_fills_the_store_bit_by_bit_and_is_told_when_all_is_here() -> None:
    store: Store[View] = Store()
    heard: list[int] = []
    store.heard = lambda changes: heard.append(len(changes))
    steps = Whole(store, None).replace(Swap(things(3 * PIECE)))
    assert [next(steps), len(store)] == [[], PIECE]
    assert [next(steps), len(store)] == [[], 2 * PIECE]
    assert next(steps) == []
    told = [change for changes in steps for change in changes]
    assert told == [Change(None, view) for view in things(3 * PIECE)]
    assert sum(heard) == 3 * PIECE


def test_of_a_later_list_the_differences_are_swapped_in_at_once() -> None:
    store: Store[View] = Store()
    whole = Whole(store, None)
    list(whole.replace(Swap(things(3 * PIECE))))
    changed = [*things(PIECE), *things(3 * PIECE, note=1)[PIECE:-1], View("a", "new")]
    steps = whole.replace(Swap(changed))
    for _ in range(3):
        assert next(steps) == []
        assert list(store) == things(3 * PIECE), "all of the old state"
    told = list(next(steps))
    assert {view.key: view for view in store} == {view.key: view for view in changed}, "all of the new one"
    told += [change for changes in steps for change in changes]
    assert len(told) == 2 * PIECE + 1
    assert told[0] == Change(things(3 * PIECE)[-1], None)


def test_what_we_write_while_a_list_is_looked_through_stays() -> None:
    store: Store[View] = Store()
    whole = Whole(store, None)
    list(whole.replace(Swap([View("a", f"x{number}", 0, "5") for number in range(PIECE + 1)])))
    whole.begin()
    steps = whole.replace(Swap([View("a", f"x{number}", 1, "8") for number in range(PIECE + 1)]))
    next(steps)
    ours = [View("a", "x0", 7, "9"), View("a", "made", 7, "10")]
    for view in ours:
        store.wrote(view)
    told = [change for changes in steps for change in changes]
    assert [view for view in store if view.note == 7] == ours
    assert len(told) == PIECE


def test_only_the_namespace_of_the_list_is_swapped() -> None:
    store: Store[View] = Store()
    one, other = Whole(store, "a"), Whole(store, "b")
    list(one.replace(Swap(things(2))))
    list(other.replace(Swap(things(2, namespace="b"))))
    list(one.replace(Swap([])))
    assert list(store) == things(2, namespace="b")


def test_namespaces_are_swapped_one_after_the_other_and_each_at_once() -> None:
    store: Store[View] = Store({"namespace": lambda view: (view.namespace,)})
    known: list[str] = []
    part = Part(Joint(store, "namespace", known.append), ("a", "b", "c"))
    mixed = [View(namespace, f"x{number}") for number in range(PIECE) for namespace in ("a", "b", "c")]
    steps = part.replace(Swap(mixed, version=5))
    for _ in range(3):
        assert next(steps) == []
        assert len(store) == 0
    assert next(steps) == []
    (first,) = known
    assert store.by("namespace", first) == list(store) == things(PIECE, namespace=first)
    dropped, last = {"a", "b", "c"} - {first}
    part.covers.discard(dropped)
    list(steps)
    assert known == [first, last], "nobody needs the other one any more"
    assert len(store) == 2 * PIECE
    steps = part.replace(Swap(things(PIECE, note=1, namespace=first), version=6))
    next(steps)
    told = {change.new for change in next(steps)}, {change.new for change in next(steps)}
    assert {frozenset(views) for views in told} == {
        frozenset(things(PIECE, note=1, namespace=first)),
        frozenset({None}),
    }
    assert next(steps, None) is None
    assert part.listed
