"""A bounded cache whose misses are loaded once, however many ask.

Knows keys, values, ages and its bound. Refuses to know what a load does. The rule not to break: a value
whose load began before an ``invalidate`` or a ``put`` of its key is never stored after it.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from zenlead.kube.facts import CacheLoaded
from zenlead.kube.supervise import alive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

    K = TypeVar("K", bound=Hashable)
else:
    K = TypeVar("K")
V = TypeVar("V")


class CacheStats(msgspec.Struct):
    """Totals since the start. Who joins a load that is under way counts as a miss."""

    hits: int = 0
    misses: int = 0
    loads: int = 0
    timeouts: int = 0
    evictions: int = 0


class _Entry(msgspec.Struct, Generic[V]):
    value: V
    stored_at: float
    used_at: float


class _Load(Generic[V]):
    """One load and how many wait for it. The last one that is cancelled cancels the load with it."""

    def __init__(self, run: Callable[[_Load[V]], Coroutine[None, None, V]], name: str) -> None:
        self.waiters = 0
        self.task = asyncio.create_task(run(self), name=name)
        # Somebody must look at the failure of a load whose callers are all gone, or asyncio complains.
        self.task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    async def result(self) -> V:
        self.waiters += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiters -= 1
            if not self.waiters:
                self.task.cancel()


class AsyncLRU(Generic[K, V]):
    """The ``max_entries`` most recently used values (0: all), each for ``ttl_s`` seconds (0: for ever).

    ``load`` makes the value of a key; it is given ``load_timeout_s`` seconds. ``on_evict`` hears of each
    entry that had to go (bound, age, idleness), not of those taken out by ``pop`` and ``invalidate``.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[K], Awaitable[V]],
        *,
        max_entries: int,
        load_timeout_s: float,
        ttl_s: float = 0.0,
        notify: Callable[[CacheLoaded], None] | None = None,
        on_evict: Callable[[K, V], None] | None = None,
    ) -> None:
        self._name = name
        self._load = load
        self._max_entries = max_entries
        self.load_timeout_s = load_timeout_s
        self._ttl_s = ttl_s
        self._notify = notify
        self._on_evict = on_evict
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()  # the one used last is at the end
        self._loads: dict[K, _Load[V]] = {}  # those whose result may still be stored
        self.stats = CacheStats()

    def __repr__(self) -> str:
        return (
            f"AsyncLRU({self._name} {len(self._entries)}/{self._max_entries or 'unlimited'} "
            f"loading={len(self._loads)} hits={self.stats.hits} misses={self.stats.misses})"
        )

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: K) -> V:
        """The value, loaded if need be. TimeoutError after ``load_timeout_s``; else what ``load`` raises.

        A failure is given to all who wait for that load, and not remembered.
        """
        entry = self._fresh(key)
        if entry is not None:
            self.stats.hits += 1
            entry.used_at = asyncio.get_running_loop().time()
            self._entries.move_to_end(key)
            return entry.value
        self.stats.misses += 1
        loading = self._loads.get(key)
        # A load whose last caller was cancelled is ending: nobody may join it.
        if loading is None or loading.task.done() or not loading.waiters:
            loading = _Load(functools.partial(self._fill, key), f"{self._name}.load")
            self._loads[key] = loading
        alive(self.load_timeout_s)
        return await loading.result()

    def peek(self, key: K) -> V | None:
        """The value if it is here; counts as no use and loads nothing."""
        entry = self._fresh(key)
        return None if entry is None else entry.value

    def put(self, key: K, value: V) -> None:
        """Store a value that the caller knows to be newer than any load that is under way."""
        self._loads.pop(key, None)
        self._store(key, value)

    def invalidate(self, key: K) -> None:
        """The value of ``key`` is no longer true: neither the stored one nor one that is being loaded.

        Those who already wait for that load still get what it finds; it was asked for before this call.
        """
        self.pop(key)

    def pop(self, key: K) -> V | None:
        """Take the value out, as ``invalidate`` does, and return it if it was here."""
        self._loads.pop(key, None)
        entry = self._fresh(key)
        self._entries.pop(key, None)
        return None if entry is None else entry.value

    def sweep(self, idle_s: float) -> int:
        """Drop the entries not used for ``idle_s`` seconds; returns how many."""
        dropped = 0
        before = asyncio.get_running_loop().time() - idle_s
        while self._entries and next(iter(self._entries.values())).used_at <= before:
            self._evict(next(iter(self._entries)))
            dropped += 1
        return dropped

    async def _fill(self, key: K, own: _Load[V]) -> V:
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.stats.loads += 1
        try:
            async with asyncio.timeout(self.load_timeout_s):
                value = await self._load(key)
            if self._loads.get(key) is own:
                self._store(key, value)
        except TimeoutError:
            self.stats.timeouts += 1
            self._report(key, "timeout", loop.time() - started)
            raise
        except Exception:
            self._report(key, "error", loop.time() - started)
            raise
        finally:
            if self._loads.get(key) is own:
                del self._loads[key]
        self._report(key, "success", loop.time() - started)
        return value

    def _report(self, key: K, result: str, seconds: float) -> None:
        if self._notify is not None:
            self._notify(CacheLoaded(self._name, str(key), result, seconds))

    def _fresh(self, key: K) -> _Entry[V] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl_s and asyncio.get_running_loop().time() >= entry.stored_at + self._ttl_s:
            self._evict(key)
            return None
        return entry

    def _store(self, key: K, value: V) -> None:
        now = asyncio.get_running_loop().time()
        self._entries[key] = _Entry(value, stored_at=now, used_at=now)
        self._entries.move_to_end(key)
        if self._max_entries and len(self._entries) > self._max_entries:
            self._evict(next(iter(self._entries)))

    def _evict(self, key: K) -> None:
        entry = self._entries.pop(key)
        self.stats.evictions += 1
        if self._on_evict is not None:
            self._on_evict(key, entry.value)
