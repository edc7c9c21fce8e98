"""Which namespaces' pods are watched, and by which watches: never a gap, never more watches than need be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.profiles import THOROUGH
from zenlead.controller.scope import (
    HYSTERESIS,
    LINGER_S,
    NARROW_AT_MOST,
    NARROW_LIMIT,
    Plan,
    Wanted,
    Watch,
    plan,
)


def spaces(count: int, start: int = 0) -> set[str]:
    return {f"n{number:04}" for number in range(start, start + count)}


def narrow(number: int, namespace: str, *, level: bool = True) -> Watch:
    covers = {namespace}
    return Watch(number, namespace, covers, covers if level else set(), level)


def wide(number: int, covers: set[str], level: set[str] | None = None, *, listed: bool = True) -> Watch:
    level = (covers if level is None else level) if listed else set()
    return Watch(number, None, covers, level, listed)


def narrows(namespaces: set[str]) -> list[Watch]:
    return [narrow(number, namespace) for number, namespace in enumerate(sorted(namespaces))]


# --- what is wanted -----------------------------------------------------------------------------------------


def test_a_namespace_lingers() -> None:
    wanted = Wanted()
    assert wanted.look({"a", "b"}, 0.0) == []
    assert wanted.next_at() is None
    assert wanted.look({"b"}, 5.0) == []
    assert wanted.namespaces == {"a", "b"}
    assert "a" not in wanted
    assert "b" in wanted
    assert wanted.next_at() == 5.0 + LINGER_S
    assert wanted.look({"b"}, 4.9 + LINGER_S) == []
    assert wanted.look({"b"}, 5.0 + LINGER_S) == ["a"]
    assert wanted.namespaces == {"b"}


def test_a_namespace_that_comes_back_stays_and_lingers_anew() -> None:
    wanted = Wanted()
    wanted.look({"a"}, 0.0)
    wanted.look(set(), 1.0)
    wanted.look({"a"}, 20.0)
    assert wanted.next_at() is None
    assert wanted.look(set(), 40.0) == []
    assert wanted.look(set(), 40.0 + LINGER_S) == ["a"]


# --- few ----------------------------------------------------------------------------------------------------


def test_few_are_watched_singly() -> None:
    few = spaces(NARROW_LIMIT)
    assert plan(few, []) == Plan(sorted(few), [], settled=False)
    assert plan(few, narrows(few)) == Plan(settled=True)


def test_who_is_not_wanted_is_watched_no_longer() -> None:
    watches = narrows({"a", "b"})
    assert plan({"b"}, watches).stop == [0]
    assert plan(set(), watches).stop == [0, 1]


def test_a_watch_that_is_filling_is_not_settled() -> None:
    assert not plan({"a"}, [narrow(0, "a", level=False)]).settled


# --- many ---------------------------------------------------------------------------------------------------


def test_many_at_the_start_are_watched_widely_at_once() -> None:
    assert plan(spaces(NARROW_LIMIT + 1), []) == Plan([None], [], settled=False)


def test_one_more_begins_a_wide_watch_and_the_others_go_on_until_it_is_level() -> None:
    old, all_ = narrows(spaces(NARROW_LIMIT)), spaces(NARROW_LIMIT + 1)
    assert plan(all_, old) == Plan([None], [], settled=False)
    assert plan(all_, [*old, wide(99, all_, listed=False)]) == Plan([], [], settled=False)
    but_one = all_ - {"n0003"}
    assert plan(all_, [*old, wide(99, all_, but_one)]).stop == [n for n in range(NARROW_LIMIT) if n != 3]
    assert plan(all_, [wide(99, all_)]) == Plan(settled=True)


def test_who_comes_later_is_watched_singly_beside_the_wide_watch() -> None:
    old = spaces(20)
    watches = [wide(0, old)]
    new = {"z1", "z2"}
    assert plan(old | new, watches).start == ["z1", "z2"]
    watches += [narrow(1, "z1"), narrow(2, "z2")]
    assert plan(old | new, watches) == Plan(settled=True)


def test_too_many_that_came_later_are_taken_into_a_new_wide_watch() -> None:
    old, new = spaces(20), spaces(NARROW_LIMIT + 1, 100)
    both = old | new
    watches = [wide(0, old), *(narrow(number, ns) for number, ns in enumerate(sorted(new), start=1))]
    assert plan(both, watches) == Plan([None], [], settled=False)
    assert plan(both, [*watches, wide(99, both, listed=False)]).stop == []
    assert plan(both, [*watches, wide(99, both, both - {"n0004"})]).stop == [w.number for w in watches[1:]]
    assert plan(both, [*watches, wide(99, both)]).stop == [w.number for w in watches]


def test_there_is_no_third_wide_watch_while_the_second_is_filling() -> None:
    old, new = spaces(20), spaces(50, 100)
    planned = plan(old | new, [wide(0, old), wide(1, old, listed=False)])
    assert None not in planned.start
    assert set(planned.start) == new, "meanwhile one by one"


def test_a_flood_waits_for_the_next_wide_watch() -> None:
    planned = plan(spaces(5000), [wide(0, spaces(20), listed=False)])
    assert len(planned.start) == NARROW_AT_MOST


# --- fewer again --------------------------------------------------------------------------------------------


def test_a_few_less_change_nothing() -> None:
    some = spaces(NARROW_LIMIT // HYSTERESIS + 1)
    assert plan(some, [wide(0, spaces(20))]) == Plan(settled=True)


def test_half_as_many_are_watched_singly_again() -> None:
    few, old = spaces(NARROW_LIMIT // HYSTERESIS), wide(0, spaces(20))
    assert plan(few, [old]) == Plan(sorted(few), [], settled=False)
    filling = [narrow(n + 1, ns, level=n > 0) for n, ns in enumerate(sorted(few))]
    assert plan(few, [old, *filling]).stop == []
    singly = [narrow(n + 1, ns) for n, ns in enumerate(sorted(few))]
    assert plan(few, [old, *singly]).stop == [0]
    assert plan(few, singly) == Plan(settled=True)


def test_without_the_right_to_all_namespaces_each_is_watched_singly() -> None:
    many = spaces(50)
    assert plan(many, [], None).start == sorted(many)
    assert plan(many, narrows(many), None) == Plan(settled=True)


# --- whatever happens ---------------------------------------------------------------------------------------


class World:
    """Watches that begin and end as planned, and come as far as the dice say."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.wanted: set[str] = set()
        self.running: dict[int, tuple[str | None, set[str], set[str]]] = {}  # covers; level
        self.known: set[str] = set()
        self.number = 0

    def watches(self) -> list[Watch]:
        return [
            Watch(number, namespace, covers, level, bool(level) or not covers)
            for number, (namespace, covers, level) in self.running.items()
        ]

    def drop(self, namespace: str) -> None:
        self.wanted.discard(namespace)
        self.known.discard(namespace)
        for _, covers, level in self.running.values():
            covers.discard(namespace)
            level.discard(namespace)

    def carry_out(self) -> Plan:
        planned = plan(self.wanted, self.watches(), self.limit)
        for namespace in planned.start:
            self.number += 1
            covers = {namespace} if namespace is not None else set(self.wanted)
            self.running[self.number] = namespace, covers, set()
        for number in planned.stop:
            del self.running[number]
        return planned

    def fill(self, number: int) -> None:
        _, covers, level = self.running[number]
        level |= covers
        self.known |= covers


@THOROUGH
@given(st.data())
def test_no_gap_and_it_comes_to_rest(data: Any) -> None:
    world = World(limit=4)
    names = sorted(spaces(12))
    for _ in range(data.draw(st.integers(1, 40))):
        deed = data.draw(st.sampled_from(["want", "want", "drop", "fill", "look"]))
        if deed == "want":
            world.wanted.add(data.draw(st.sampled_from(names)))
        elif deed == "drop":
            world.drop(data.draw(st.sampled_from(names)))
        elif deed == "fill" and world.running:
            world.fill(data.draw(st.sampled_from(sorted(world.running))))
        else:
            world.carry_out()
            covered = set().union(*(covers for _, covers, _ in world.running.values()))
            assert world.wanted <= covered, "not watched at all"
        held = set().union(*(level for _, _, level in world.running.values()))
        assert world.known & world.wanted <= held, "what was known is not kept up to date"
    for _ in range(6):
        for number in list(world.running):
            world.fill(number)
        if world.carry_out().settled:
            break
    else:
        raise AssertionError(f"never settles: {world.watches()}")
    wides = [number for number, (namespace, _, _) in world.running.items() if namespace is None]
    assert len(wides) <= 1
    assert len(world.running) - len(wides) <= world.limit
