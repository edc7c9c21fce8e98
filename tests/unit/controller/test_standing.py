"""A warning that stands is told once; one that went away and came back is told again."""

from __future__ import annotations

from zenlead.controller.announce import Announcement
from zenlead.controller.standing import GONE_LIMIT, Standing

KEY, OTHER = ("t1", "web"), ("t1", "api")
BAD = Announcement(True, "InvalidAnnotation", "Parse", "a note", "uid/InvalidAnnotation/a=b", recurs=True)
ONCE = Announcement(True, "NoReadyPods", "Elect", "a note", "uid/NoReadyPods/7")


def test_what_stands_keeps_its_name() -> None:
    standing = Standing()
    for now in (1.0, 2.0):
        assert standing.named(KEY, [BAD, ONCE], now) == [BAD, ONCE]


def test_what_comes_back_has_another_name_and_keeps_that() -> None:
    standing = Standing()
    standing.named(KEY, [BAD], 1.0)
    assert standing.named(KEY, [], 2.0) == []
    (again,) = standing.named(KEY, [BAD], 3.0)
    assert again.dedup == f"{BAD.dedup}@3.000000"
    assert again.note == BAD.note
    assert standing.named(KEY, [BAD], 4.0) == [again]
    standing.named(KEY, [], 5.0)
    (third,) = standing.named(KEY, [BAD], 6.0)
    assert third.dedup not in {again.dedup, BAD.dedup}


def test_what_does_not_recur_has_its_one_name_always() -> None:
    standing = Standing()
    standing.named(KEY, [ONCE, BAD], 1.0)
    standing.named(KEY, [], 2.0)
    assert standing.named(KEY, [ONCE], 3.0) == [ONCE]


def test_services_are_told_apart() -> None:
    standing = Standing()
    standing.named(KEY, [BAD], 1.0)
    standing.named(KEY, [], 2.0)
    assert standing.named(OTHER, [BAD], 3.0) == [BAD]


def test_it_drains_and_holds_little() -> None:
    standing = Standing()
    standing.named(OTHER, [ONCE], 1.0)
    assert len(standing) == 0, "nothing to remember"
    many = [
        Announcement(True, "InvalidAnnotation", "Parse", "", f"uid/{number}", recurs=True)
        for number in range(GONE_LIMIT + 5)
    ]
    standing.named(KEY, many, 1.0)
    standing.named(KEY, [], 2.0)
    renamed = [one.dedup for one in standing.named(KEY, many, 3.0) if "@" in one.dedup]
    assert len(renamed) == GONE_LIMIT
    standing.named(OTHER, [BAD], 1.0)
    standing.forget(KEY)
    assert len(standing) == 1
    assert standing.named(KEY, [many[0]], 4.0) == [many[0]]
    standing.forget_all()
    assert len(standing) == 0
