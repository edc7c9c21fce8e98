"""Several watches fill one store: whichever is ahead counts, and none that lags undoes anything."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.profiles import THOROUGH
from zenlead.kube.joint import Joint, Part
from zenlead.kube.store import Change, Key, Store
from zenlead.kube.watchevents import Swap

NAMESPACES = ("a", "b", "c")
NAMES = ("x", "y")


class View(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    note: int

    @property
    def key(self) -> Key:
        return self.namespace, self.name


class Room:
    def __init__(self) -> None:
        self.store: Store[View] = Store({"namespace": lambda view: (view.namespace,)})
        self.known: list[str] = []
        self.joint = Joint(self.store, "namespace", self.known.append)

    def part(self, *covers: str) -> Part[View]:
        return Part(self.joint, covers)

    def notes(self) -> dict[Key, int]:
        return {view.key: view.note for view in self.store}


def taken(part: Part[View], full: Swap[View]) -> list[Change[View]]:
    return [change for changes in part.replace(full) for change in changes]


def x(note: int, namespace: str = "a") -> View:
    return View(namespace, "x", note)


def test_nothing_is_known_before_a_full_list() -> None:
    room = Room()
    part = room.part("a")
    assert part.apply(x(1), 5) is None
    assert not room.joint.knows("a")
    assert taken(part, Swap([x(1)], version=6)) == [], "who hears of the namespace looks at all of it"
    assert room.notes() == {("a", "x"): 1}
    assert room.joint.knows("a")
    assert room.known == ["a"]
    taken(part, Swap([x(1)], version=7))
    assert room.known == ["a"], "told once"


def test_an_event_that_another_watch_has_brought_is_none() -> None:
    room = Room()
    ahead, behind = room.part("a"), room.part("a", "b")
    for part in (ahead, behind):
        taken(part, Swap([x(1)], version=5))
    assert ahead.apply(x(2), 6) == Change(x(1), x(2))
    assert ahead.remove(x(2), 7) == Change(x(2), None)
    assert behind.apply(x(2), 6) is None
    assert room.notes() == {}
    assert behind.remove(x(2), 7) is None
    assert behind.apply(x(3), 8) == Change(None, x(3))
    assert ahead.apply(x(3), 8) is None


def test_a_list_that_is_behind_says_nothing() -> None:
    room = Room()
    ahead, behind = room.part("a"), room.part("a", "b")
    taken(ahead, Swap([x(1)], version=5))
    ahead.apply(x(2), 9)
    assert taken(behind, Swap([x(1), x(1, "b"), x(1, "c")], version=7)) == []
    assert room.notes() == {("a", "x"): 2, ("b", "x"): 1}, "c is not covered"


def test_a_watch_is_level_once_it_has_come_as_far_as_the_others() -> None:
    room = Room()
    ahead, behind = room.part("a"), room.part("a", "b")
    taken(ahead, Swap([x(1)], version=5))
    ahead.apply(x(2), 9)
    assert not behind.is_level("a"), "it knows nothing yet"
    taken(behind, Swap([x(1)], version=7))
    assert not behind.is_level("a")
    assert behind.is_level("b")
    behind.reached("9")
    assert behind.is_level("a")
    assert not behind.is_level("c")


def test_a_restored_server_wins_with_whoever_has_seen_it_go_back() -> None:
    room = Room()
    one, two = room.part("a"), room.part("a", "b")
    for part in (one, two):
        taken(part, Swap([x(9)], version=90))
    assert taken(one, Swap([x(4)], version=40)) == [Change(x(9), x(4))]
    assert one.apply(x(5), 41) == Change(x(4), x(5)), "and goes on from there"
    assert not one.apply(x(4), 40)


def test_objects_that_cannot_be_read_stay_as_they_are() -> None:
    room = Room()
    part = room.part("a")
    taken(part, Swap([x(1), View("a", "y", 1)], version=5))
    taken(part, Swap([], frozenset({("a", "x")}), 6))
    assert room.notes() == {("a", "x"): 1}


def test_versions_that_are_no_numbers_stop_nothing() -> None:
    room = Room()
    part = room.part("a")
    taken(part, Swap([x(1)]))
    assert part.apply(x(2), 0) == Change(x(1), x(2))
    assert taken(part, Swap([x(3)])) == [Change(x(2), x(3))]
    part.reached("")
    assert part.is_level("a")


def test_what_is_dropped_is_forgotten_and_what_comes_late_of_it_is_not_taken() -> None:
    room = Room()
    part = room.part("a", "b")
    taken(part, Swap([x(1), x(1, "b")], version=5))
    part.covers.discard("a")
    room.joint.drop("a")
    assert room.notes() == {("b", "x"): 1}
    assert part.apply(x(2), 6) is None, "was decoded before"
    assert not part.wants("a")
    assert taken(part, Swap([x(2), x(2, "b")], version=7)) == [Change(x(1, "b"), x(2, "b"))]
    assert not room.joint.knows("a")


class History:
    """What happens to pods, by version from 1 on, and what there is after each."""

    def __init__(self, deeds: list[tuple[str, str, bool]]) -> None:
        self.events: list[tuple[View, bool]] = []
        self.states: list[dict[Key, View]] = [{}]
        for version, (namespace, name, exists) in enumerate(deeds, start=1):
            view = View(namespace, name, version)
            state = dict(self.states[-1])
            if exists:
                state[view.key] = view
            else:
                state.pop(view.key, None)
            self.events.append((view, exists))
            self.states.append(state)

    def of(self, namespace: str, version: int) -> dict[Key, View]:
        """Only what happened in the namespace counts for what it was at a version."""
        return {key: view for key, view in self.states[version].items() if key[0] == namespace}


class Tale:
    """One watch: a list at one version, then the events after it, one a step; at times a list anew."""

    def __init__(self, room: Room, history: History, covers: tuple[str, ...]) -> None:
        self.part = room.part(*covers)
        self.history = history
        self.at: int | None = None

    def list(self, version: int) -> None:
        self.at = max(version, self.at or 0)
        views = [view for view in self.history.states[self.at].values() if self.part.wants(view.namespace)]
        taken(self.part, Swap(views, version=self.at))

    def step(self) -> None:
        if self.at is None or self.at == len(self.history.events):
            return
        view, exists = self.history.events[self.at]
        self.at += 1
        if self.part.wants(view.namespace):
            (self.part.apply if exists else self.part.remove)(view, self.at)
        else:
            self.part.reached(str(self.at))


@THOROUGH
@given(st.data())
def test_the_store_is_at_the_newest_state_that_any_watch_has_brought(data: Any) -> None:
    deed = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(NAMES), st.booleans())
    history = History(data.draw(st.lists(deed, min_size=1, max_size=20)))
    room = Room()
    tales = [Tale(room, history, covers) for covers in (("a",), ("b",), ("a", "b"), ("a", "b"))]
    versions = st.integers(1, len(history.events))
    newest: dict[str, int] = {}
    for _ in range(data.draw(st.integers(1, 60))):
        tale = data.draw(st.sampled_from(tales))
        if tale.at is None or data.draw(st.integers(0, 9)) == 0:
            tale.list(data.draw(versions))
        else:
            tale.step()
        for other in list(tales):
            # As the plan does it: a watch ends when others know all that is known of what it covers.
            rest = [it.part for it in tales if it is not other]
            if all(any(part.is_level(ns) for part in rest) for ns in other.part.covers):
                if data.draw(st.booleans()):
                    tales.remove(other)
                break
        for namespace in ("a", "b"):
            if not room.joint.knows(namespace):
                continue
            version = room.joint.version(namespace)
            assert version >= newest.get(namespace, 0), "went back"
            newest[namespace] = version
            reached = max((it.at or 0 for it in tales if it.part.is_level(namespace)), default=version)
            now = {view.key: view for view in room.store.by("namespace", namespace)}
            assert now == history.of(namespace, version)
            assert now == history.of(namespace, reached), "behind what a watch has brought"
    assert not room.store.by("namespace", "c")
