"""What a controller holds: every collection that can be reached from it, by who owns it, and how long it is.

Knows Python's object graph. Refuses to know which collections ought to be empty: it compares two moments.
The rule: whatever belongs to zenlead is found by itself; a new collection need not be named to be looked at.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import Counter, deque
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

COLLECTIONS = (dict, list, set, frozenset, deque, tuple)  # and what is derived from them
OURS = "zenlead."


def sizes(*roots: Any) -> Counter[str]:
    """Entries by ``module.Class.attribute``, summed over all objects of that class that can be reached from
    ``roots`` and from what zenlead's modules hold by themselves (tables, caches)."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", root) for root in roots]
    for name, module in tuple(sys.modules.items()):
        if name.startswith(OURS) and not name.startswith(f"{OURS}sandbox"):
            waiting += [(f"{name}.{key}", value) for key, value in vars(module).items()]
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen or isinstance(value, (type, ModuleType, str, bytes, int, float)):
            continue
        seen.add(id(value))
        if isinstance(value, COLLECTIONS):
            found[path] += len(value)
            members = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
            waiting += [(f"{path}[]", member) for member in members]
        elif isinstance(value, functools._lru_cache_wrapper):
            found[path] += value.cache_info().currsize
        else:
            waiting += _parts(value)
    return found


def empty_caches() -> None:
    """Empty the caches of results that zenlead's modules hold. AssertionError for one without a bound."""
    for name, module in tuple(sys.modules.items()):
        for value in vars(module).values() if name.startswith(OURS) else ():
            if isinstance(value, functools._lru_cache_wrapper):
                assert value.cache_parameters()["maxsize"] is not None, f"no bound: {value} in {name}"
                value.cache_clear()


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes of an object of ours; of a function what it closes over; else nothing."""
    kind = type(value)
    if (kind.__module__ or "").startswith(OURS):
        owner = f"{kind.__module__}.{kind.__qualname__}"
        names = {*getattr(value, "__dict__", ()), *getattr(kind, "__struct_fields__", ())}
        names |= {slot for base in kind.__mro__ for slot in _slots(base)}
        for name in names:
            yield f"{owner}.{name}", getattr(value, name, None)
    elif kind.__name__ in {"function", "method", "partial", "coroutine", "Task"}:
        for part in gc.get_referents(value):
            if type(part).__name__ == "cell" or (type(part).__module__ or "").startswith(OURS):
                yield from (("", inner) for inner in (gc.get_referents(part) if _is_cell(part) else [part]))


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_cell(value: Any) -> bool:
    return type(value).__name__ == "cell"


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """What holds more than it did: name -> (before, after)."""
    return {name: (before[name], count) for name, count in sorted(after.items()) if count > before[name]}


def blocks() -> int:
    """Allocated memory blocks of this process, whoever holds them, after a full collection."""
    gc.collect()
    gc.collect()
    return sys.getallocatedblocks()
