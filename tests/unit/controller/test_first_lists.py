"""While the first lists come, the collector of garbage holds nobody up, and afterwards all is as it was."""

from __future__ import annotations

import contextlib
import gc

from zenlead.controller.garbage import SELDOM, few_collections


def test_full_collections_are_put_off_and_then_have_less_to_look_at() -> None:
    before = gc.get_threshold()
    gc.unfreeze()
    kept: list[object] = []
    try:
        with contextlib.suppress(KeyError), few_collections():
            assert gc.get_threshold() == (*before[:2], SELDOM)
            kept.append([])
            raise KeyError("the start was given up")
        assert gc.get_threshold() == before
        assert not any(thing is kept[0] for thing in gc.get_objects()), "it is looked at no longer"
    finally:
        gc.unfreeze()
