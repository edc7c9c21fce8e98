"""The store: indexes that drain, no news from equal views, nothing older over anything newer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.profiles import THOROUGH
from zenlead.kube.store import Change, Store, version


class Thing(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    resource_version: str = ""
    colour: str = ""
    tags: tuple[str, ...] = ()
    uid: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


def thing(name: str = "a", at: int | str = "", colour: str = "", *tags: str, namespace: str = "t1") -> Thing:
    return Thing(namespace, name, str(at), colour, tags)


def store() -> Store[Thing]:
    return Store({"colour": lambda t: (t.colour,) if t.colour else (), "tag": lambda t: t.tags})


def names(found: list[Thing]) -> list[str]:
    return sorted(t.name for t in found)


def test_what_comes_changes_and_goes_is_told_once() -> None:
    s = store()
    a1, a2 = thing(at=1, colour="red"), thing(at=2, colour="blue")
    assert s.apply(a1) == Change(None, a1)
    assert s.apply(a1) is None
    assert s.apply(a2) == Change(a1, a2)
    assert s.remove(thing(at=3)) == Change(a2, None)
    assert s.remove(thing(at=3)) is None
    assert (len(s), list(s)) == (0, [])


def test_equal_views_are_no_news() -> None:
    s = store()
    s.apply(thing(colour="red"))
    assert s.apply(thing(colour="red")) is None


def test_indexes_follow_and_drain() -> None:
    s = store()
    s.apply(thing("a", 1, "red", "x", "y"))
    s.apply(thing("b", 2, "red", "y"))
    assert names(s.by("colour", "red")) == ["a", "b"]
    assert names(s.by("tag", "y")) == ["a", "b"]
    s.apply(thing("a", 3, "blue", "y"))
    assert names(s.by("colour", "red")) == ["b"]
    assert (s.by("tag", "x"), names(s.by("tag", "y"))) == ([], ["a", "b"])
    s.deleted(("t1", "a"))
    s.remove(thing("b", 9))
    assert not any(s._indexes.values()), "an index keeps values of objects that are gone"


def test_an_older_version_is_ignored() -> None:
    s = store()
    s.apply(thing(at=5, colour="new"))
    assert s.apply(thing(at=4, colour="old")) is None
    assert s.apply(thing(at=10, colour="newer")) is not None, "versions are numbers, not texts"
    assert s.get(("t1", "a")) == thing(at=10, colour="newer")


def test_the_deletion_of_an_earlier_object_does_not_remove_its_successor() -> None:
    s = store()
    s.apply(thing(at=9))
    assert s.remove(thing(at=8)) is None
    assert len(s) == 1


def test_a_view_without_a_version_is_never_older() -> None:
    """As when an object stops being ours: then its version is no longer kept."""
    s = store()
    s.apply(thing(at=5, colour="ours"))
    assert s.apply(thing(colour="theirs")) is not None
    assert s.apply(thing(at=6, colour="ours")) is not None
    assert s.remove(thing()) is not None


def test_the_answer_to_a_write_is_known_before_the_watch_brings_it() -> None:
    s = store()
    s.apply(thing(at=1))
    assert s.wrote(thing(at=4, colour="mine")) is not None
    assert s.apply(thing(at=2, colour="others")) is None, "the watch lags behind the write"
    assert s.apply(thing(at=4, colour="mine")) is None
    assert s.apply(thing(at=5, colour="others")) is not None


def test_a_list_that_was_asked_for_before_a_write_does_not_undo_it() -> None:
    s = store()
    s.apply(thing("a", 1))
    mark = s.mark()
    s.wrote(thing("a", 7, "mine"))
    s.wrote(thing("new", 8, "mine"))
    changes = s.replace([thing("a", 1), thing("b", 2)], mark=mark)
    assert changes == [Change(None, thing("b", 2))]
    assert names(s.by("colour", "mine")) == ["a", "new"]


def test_a_list_that_was_asked_for_after_a_write_wins_over_it() -> None:
    """Also when its version is lower: an API server can be restored to an older state."""
    s = store()
    s.wrote(thing("a", 90, "mine"))
    s.wrote(thing("b", 91, "mine"))
    changes = s.replace([thing("a", 3)], mark=s.mark())
    assert {c.key[1]: c.new for c in changes} == {"a": thing("a", 3), "b": None}
    assert "0 own writes" in repr(s)


def test_a_list_newer_than_a_write_that_it_knows_wins() -> None:
    s = store()
    mark = s.mark()
    s.wrote(thing("a", 7, "mine"))
    s.replace([thing("a", 9, "theirs")], mark=mark)
    assert s.get(("t1", "a")) == thing("a", 9, "theirs")


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    s = store()
    s.apply(thing("a", 1))
    s.apply(thing("a", 1, namespace="t2"))
    s.wrote(thing("w", 2, namespace="t2"))
    changes = s.replace([], mark=s.mark(), scope="t1")
    assert [c.key for c in changes] == [("t1", "a")]
    assert len(s) == 2
    assert "1 own writes" in repr(s)
    s.replace([], mark=0)
    assert len(s) == 1, "a list of everything, asked for before the write"


def test_what_a_list_cannot_read_stays_as_it_was() -> None:
    s = store()
    s.apply(thing("a", 1, "good"))
    s.apply(thing("b", 2))
    s.replace([], mark=s.mark(), unreadable=frozenset({("t1", "a"), ("t1", "never-seen")}))
    assert [t.name for t in s] == ["a"]


def test_own_writes_are_forgotten_when_the_watch_has_caught_up() -> None:
    s = store()
    s.wrote(thing("a", 3))
    s.wrote(thing("b", 4))
    s.apply(thing("a", 3))
    s.deleted(("t1", "b"))
    assert "0 own writes" in repr(s)


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        _ = Change[Thing](None, None).key


@pytest.mark.parametrize(("text", "number"), [("", 0), ("12", 12), ("x", 0), ("-1", 0), ("007", 7)])
def test_versions_are_numbers(text: str, number: int) -> None:
    assert version(thing(at=text)) == number
    assert version(object()) == 0


# --- against a model ----------------------------------------------------------------------------------------

things = st.builds(
    Thing,
    namespace=st.sampled_from(("t1", "t2")),
    name=st.sampled_from("ab"),
    resource_version=st.integers(1, 9).map(str),
    colour=st.sampled_from(("", "red", "blue")),
    tags=st.lists(st.sampled_from("xyz"), unique=True).map(tuple),
)
steps = st.one_of(
    st.tuples(st.just("apply"), things),
    st.tuples(st.just("remove"), things),
    st.tuples(st.just("wrote"), things),
    st.tuples(st.just("deleted"), things),
    st.tuples(st.just("mark"), things),
    st.tuples(st.just("replace"), st.lists(things, max_size=4), st.sampled_from((None, "t1", "t2"))),
)


@given(st.lists(steps, max_size=25))
@THOROUGH
def test_views_indexes_and_changes_agree_with_a_plain_dictionary(history: list[tuple[Any, ...]]) -> None:
    """The changes, replayed on a dictionary, give the store; the indexes are those of its views."""
    s, replayed = store(), dict[tuple[str, str], Thing]()
    mark = 0
    for kind, given_, *more in history:
        changes: list[Change[Thing] | None] = []
        if kind == "mark":
            mark = s.mark()
        elif kind == "replace":
            (scope,) = more
            listed = {t.key: t for t in given_ if scope in (None, t.namespace)}
            changes += s.replace(listed.values(), mark=mark, scope=scope)
            mark = s.mark()
        elif kind == "deleted":
            changes.append(s.deleted(given_.key))
        else:
            before = s.get(given_.key)
            changes.append(getattr(s, kind)(given_))
            after = s.get(given_.key)
            if before is not None and after is not None:
                assert version(after) >= version(before), "went back without a list"
        for change in changes:
            if change is None:
                continue
            assert change.old == replayed.get(change.key)
            assert change.old != change.new
            if change.new is None:
                del replayed[change.key]
            else:
                replayed[change.key] = change.new
    assert {t.key: t for t in s} == replayed
    for name, values in (("colour", ("red", "blue")), ("tag", ("x", "y", "z"))):
        for value in values:
            expected = {t.key for t in s if value in (t.colour, *t.tags)}
            found = [t.key for t in s.by(name, value)]
            assert set(found) == expected
            assert len(found) == len(expected)
    for view in list(s):
        s.deleted(view.key)
    assert not any(s._indexes.values())
    assert not s._own


# --- answers that come late ---------------------------------------------------------------------------------

KEY = ("t1", "a")


def test_an_answer_does_not_bring_back_what_has_gone_since() -> None:
    s = store()
    with s.asking(KEY) as inquiry:
        s.apply(thing(at=4))
        s.remove(thing(at=5))
        assert inquiry.found(thing(at=4)) is None
    assert s.get(KEY) is None
    assert (s._inquiries, s._own) == ({}, {})


def test_nor_what_was_made_and_has_gone_unseen() -> None:
    """The watch was cut; the full list after it does not have the object any more."""
    s = store()
    with s.asking(KEY) as inquiry:
        s.replace([], mark=s.mark(), at=5)
        assert inquiry.found(thing(at=5)) is None
    with s.asking(KEY) as inquiry:
        s.replace([], mark=s.mark(), at=5)
        assert inquiry.found(thing(at=6)) is not None, "made after the list"


def test_a_list_of_another_namespace_says_nothing_of_it() -> None:
    s = store()
    with s.asking(KEY) as inquiry:
        s.replace([], mark=s.mark(), at=5, scope="t2")
        s.replace([], mark=s.mark(), at=5, scope="t1", unreadable=frozenset({KEY}))
        assert inquiry.found(thing(at=4)) is not None


def test_what_only_left_the_selection_of_the_watch_is_still_there() -> None:
    """Its last event carries the version that it has."""
    s = store()
    s.apply(thing(at=4))
    with s.asking(KEY) as inquiry:
        s.remove(thing(at=5))
        assert inquiry.found(thing(at=5)) is not None


def test_without_versions_the_watch_knows_better() -> None:
    """Of what is not ours no version is kept."""
    s = store()
    s.apply(thing())
    with s.asking(KEY) as inquiry:
        s.remove(thing())
        assert inquiry.found(thing()) is None
    with s.asking(KEY) as inquiry:
        assert inquiry.found(thing()) is not None


def test_what_was_deleted_and_made_again_is_kept() -> None:
    s = store()
    again = Thing("t1", "a", "6", uid="second")
    s.apply(Thing("t1", "a", "4", uid="first"))
    with s.asking(KEY) as inquiry:
        s.remove(Thing("t1", "a", "5", uid="first"))
        s.apply(again)
        assert inquiry.gone() is None
    assert s.get(KEY) is again


def test_what_was_made_while_nothing_was_found_is_kept() -> None:
    s = store()
    with s.asking(KEY) as inquiry:
        s.apply(thing(at=4))
        assert inquiry.gone() is None
    assert s.get(KEY) is not None


def test_what_is_gone_goes() -> None:
    s = store()
    s.apply(Thing("t1", "a", "4", uid="first"))
    with s.asking(KEY) as inquiry, s.asking(KEY):
        s.apply(Thing("t1", "a", "5", "red", uid="first"))
        assert inquiry.gone() is not None
    assert (s.get(KEY), s._inquiries) == (None, {})
