"""The store: revisions, history, owners, compaction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zenlead.sandbox.objects import Compacted, Key, Objects, Occurrence

KEYS = [("pods", "a", "x"), ("pods", "a", "y"), ("pods", "b", "x"), ("services", "a", "x")]


def _body(key: Key, value: int = 0, owners: tuple[str, ...] = ()) -> dict[str, object]:
    meta: dict[str, object] = {"name": key[2], "namespace": key[1], "uid": "-".join(key)}
    if owners:
        meta["ownerReferences"] = [{"uid": uid} for uid in owners]
    return {"metadata": meta, "value": value}


def test_every_change_has_a_revision_of_its_own() -> None:
    objects = Objects()
    seen: list[Occurrence] = []
    stop = objects.subscribe(seen.append)
    first = objects.put(KEYS[0], _body(KEYS[0]))
    second = objects.put(KEYS[0], _body(KEYS[0], 1))
    gone = objects.remove(KEYS[0])
    stop()
    objects.put(KEYS[1], _body(KEYS[1]))
    assert [first.revision, second.revision, gone.revision] == [2, 3, 4]
    assert [(one.before, one.after) for one in seen] == [(None, first), (first, second), (second, None)]
    assert gone.body["metadata"]["resourceVersion"] == "4"
    assert first.body["metadata"]["resourceVersion"] == "2"


def test_history_is_bounded_and_says_how_far_it_reaches() -> None:
    objects = Objects(history=3)
    for value in range(6):
        objects.put(KEYS[0], _body(KEYS[0], value))
    assert objects.revision == 7
    assert [past.revision for past in objects.since(4)] == [5, 6, 7]
    with pytest.raises(Compacted) as compacted:
        objects.since(3)
    assert compacted.value.oldest == 4
    with pytest.raises(Compacted):
        objects.find_at("pods", "", 3)


def test_compaction_forgets_everything_but_now() -> None:
    objects = Objects()
    objects.put(KEYS[0], _body(KEYS[0]))
    objects.compact()
    assert objects.since(objects.revision) == []
    with pytest.raises(Compacted):
        objects.since(objects.revision - 1)


def test_owners_are_indexed_and_forgotten() -> None:
    objects = Objects()
    objects.put(KEYS[0], _body(KEYS[0], owners=("u1", "u2")))
    objects.put(KEYS[1], _body(KEYS[1], owners=("u1",)))
    assert objects.dependents("u1") == [KEYS[0], KEYS[1]]
    objects.put(KEYS[0], _body(KEYS[0], owners=("u2",)))
    assert objects.dependents("u1") == [KEYS[1]]
    objects.remove(KEYS[0])
    objects.remove(KEYS[1])
    assert objects.dependents("u1") == objects.dependents("u2") == []
    assert objects.by_uid("-".join(KEYS[0])) is None
    assert not objects._dependents
    assert not objects._by_uid


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=30))
def test_the_past_can_be_seen_at_every_revision(changes: list[tuple[Key, bool]]) -> None:
    objects = Objects()
    moments = {objects.revision: objects.find("pods")}
    for key, keeps in changes:
        if keeps:
            objects.put(key, _body(key, objects.revision))
        elif objects.get(key) is not None:
            objects.remove(key)
        moments[objects.revision] = objects.find("pods")
    for revision, then in moments.items():
        assert objects.find_at("pods", "", revision) == then
