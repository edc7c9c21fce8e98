"""The cache: bounded, one load per miss, nothing stale after an invalidation, cancels hurt nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulated.clock import VirtualClockLoop
from zenlead.kube.lru import AsyncLRU

if TYPE_CHECKING:
    from collections.abc import Callable

    from zenlead.kube.facts import CacheLoaded

pytestmark = pytest.mark.virtual_clock


class Source:
    """What is loaded: a value that changes with time, after ``delay_s``, or a failure."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.version = 0
        self.asked: list[str] = []
        self.running = 0
        self.error: Exception | None = None

    async def load(self, key: str) -> str:
        self.asked.append(key)
        value = f"{key}{self.version}"
        self.running += 1
        try:
            await asyncio.sleep(self.delay_s)
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return value


def cache(
    source: Source,
    *,
    max_entries: int = 2,
    ttl_s: float = 0.0,
    notify: Callable[[CacheLoaded], None] | None = None,
    on_evict: Callable[[str, str], None] | None = None,
) -> AsyncLRU[str, str]:
    return AsyncLRU(
        "test",
        source.load,
        max_entries=max_entries,
        load_timeout_s=10.0,
        ttl_s=ttl_s,
        notify=notify,
        on_evict=on_evict,
    )


async def test_the_least_recently_used_entry_goes_first() -> None:
    evicted: list[tuple[str, str]] = []
    lru = cache(Source(), on_evict=lambda key, value: evicted.append((key, value)))
    for key in ("a", "b", "a", "c"):
        await lru.get(key)
    assert evicted == [("b", "b0")]
    assert (lru.peek("a"), lru.peek("b"), lru.peek("c")) == ("a0", None, "c0")
    assert (lru.stats.hits, lru.stats.misses, lru.stats.loads, lru.stats.evictions) == (1, 3, 3, 1)
    assert repr(lru) == "AsyncLRU(test 2/2 loading=0 hits=1 misses=3)"


async def test_zero_entries_means_no_bound() -> None:
    lru = cache(Source(), max_entries=0)
    for n in range(5000):
        lru.put(str(n), "x")
    assert len(lru) == 5000


async def test_many_callers_share_one_load() -> None:
    source, facts = Source(delay_s=3), []
    lru = cache(source, notify=facts.append)
    got = await asyncio.gather(*(lru.get("a") for _ in range(10)))
    assert got == ["a0"] * 10
    assert source.asked == ["a"]
    assert [(fact.cache, fact.key, fact.result, fact.seconds) for fact in facts] == [
        ("test", "a", "success", 3)
    ]


async def test_one_cancelled_caller_does_not_take_the_load_from_the_others() -> None:
    source = Source(delay_s=3)
    lru = cache(source)
    first, second = (asyncio.ensure_future(lru.get("a")) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == "a0"
    assert source.asked == ["a"]
    assert first.cancelled()


async def test_the_last_cancelled_caller_ends_the_load_and_the_next_one_loads_anew() -> None:
    source = Source(delay_s=3)
    lru = cache(source)
    only = asyncio.ensure_future(lru.get("a"))
    await asyncio.sleep(1)
    only.cancel()
    await asyncio.sleep(0)
    late = asyncio.ensure_future(lru.get("a"))  # while the cancelled load is still ending
    await asyncio.wait([only])
    assert await late == "a0"
    assert source.asked == ["a", "a"]
    assert source.running == 0
    assert not lru._loads


async def test_a_slow_load_times_out_for_all_and_is_not_remembered() -> None:
    source, facts = Source(delay_s=60), []
    lru = cache(source, notify=facts.append)
    results = await asyncio.gather(lru.get("a"), lru.get("a"), return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError, TimeoutError]
    assert asyncio.get_running_loop().time() == 10
    assert lru.stats.timeouts == 1
    assert facts[0].result == "timeout"
    source.delay_s = 0
    assert await lru.get("a") == "a0"


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    source, facts = Source(delay_s=1), []
    source.error = LookupError("no")
    lru = cache(source, notify=facts.append)
    results = await asyncio.gather(lru.get("a"), lru.get("a"), return_exceptions=True)
    assert [str(result) for result in results] == ["no", "no"]
    assert facts[0].result == "error"
    source.error = None
    assert await lru.get("a") == "a0"
    assert not lru._loads


@pytest.mark.parametrize("how", ["invalidate", "pop", "put"])
async def test_what_was_being_loaded_is_not_stored_over_newer_knowledge(how: str) -> None:
    source = Source(delay_s=3)
    lru = cache(source)
    before = asyncio.ensure_future(lru.get("a"))
    await asyncio.sleep(1)
    source.version = 1
    match how:
        case "invalidate":
            lru.invalidate("a")
        case "pop":
            assert lru.pop("a") is None
        case _:
            lru.put("a", "a1")
    after = asyncio.ensure_future(lru.get("a"))
    assert await before == "a0"
    assert await after == "a1"
    assert lru.peek("a") == "a1"
    assert not lru._loads


async def test_an_invalidation_before_the_load_has_begun_to_run() -> None:
    source = Source(delay_s=1)
    lru = cache(source)

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(lru.get("a"))
        await asyncio.sleep(0)
        lru.invalidate("a")
    assert asked.result() == "a0"
    assert lru.peek("a") is None


async def test_entries_age_and_idle_ones_are_swept() -> None:
    evicted: list[str] = []
    source = Source()
    lru = cache(source, ttl_s=30, max_entries=0, on_evict=lambda key, _: evicted.append(key))
    lru.put("a", "old")
    lru.put("b", "old")
    await asyncio.sleep(20)
    assert await lru.get("a") == "old"
    assert lru.sweep(15) == 1
    assert evicted == ["b"]
    await asyncio.sleep(9.5)
    assert lru.peek("a") == "old"
    await asyncio.sleep(0.5)
    assert lru.peek("a") is None
    assert await lru.get("a") == "a0"
    assert evicted == ["b", "a"]


class AgainstModel(RuleBasedStateMachine):
    """The same moves on the cache and on plain lists; loads take a second, so moves fall into them."""

    KEYS = st.sampled_from("abcd")

    @initialize(bound=st.integers(min_value=0, max_value=3), ttl_s=st.sampled_from([0.0, 5.0]))
    def start(self, bound: int, ttl_s: float) -> None:
        self.runner = asyncio.Runner(loop_factory=VirtualClockLoop)
        self.runner.__enter__()
        self.source = Source(delay_s=1.0)
        self.bound, self.ttl_s = bound, ttl_s
        self.lru = cache(self.source, max_entries=bound, ttl_s=ttl_s)
        self.order: list[str] = []  # least recently used first
        self.model: dict[str, tuple[str, float, float]] = {}  # value, stored, used
        self.versions: dict[asyncio.Task[str], int] = {}

    def now(self) -> float:
        return self.runner.get_loop().time()

    def expire(self, key: str) -> None:
        if key in self.model and self.ttl_s and self.now() >= self.model[key][1] + self.ttl_s:
            self.drop(key)

    def drop(self, key: str) -> None:
        if self.model.pop(key, None):
            self.order.remove(key)

    def store(self, key: str, value: str) -> None:
        self.drop(key)
        self.model[key] = (value, self.now(), self.now())
        self.order.append(key)
        if self.bound and len(self.order) > self.bound:
            self.drop(self.order[0])

    def run(self, what: Callable[[], object]) -> object:
        async def call() -> object:
            return what()

        return self.runner.run(call())

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.expire(key)
        before = len(self.source.asked)
        value = self.runner.run(self.lru.get(key))
        if key in self.model:
            assert len(self.source.asked) == before
            assert value == self.model[key][0]
            self.order.remove(key)
            self.order.append(key)
            self.model[key] = (*self.model[key][:2], self.now())
        else:
            assert len(self.source.asked) == before + 1
            assert value == f"{key}{self.source.version}"
            self.store(key, value)

    @rule(key=KEYS, during=KEYS, how=st.sampled_from(["invalidate", "put"]))
    def get_while_the_world_changes(self, key: str, during: str, how: str) -> None:
        """A change falls into a load: the caller may see either value, the cache keeps no old one."""
        self.expire(key)
        self.expire(during)
        old = self.source.version
        hit = key in self.model

        async def both() -> str:
            task = asyncio.ensure_future(self.lru.get(key))
            await asyncio.sleep(0.5)
            self.source.version += 1
            if how == "put":
                self.lru.put(during, f"{during}{self.source.version}")
            else:
                self.lru.invalidate(during)
            return await task

        if hit:
            self.order.remove(key)
            self.order.append(key)
            self.model[key] = (*self.model[key][:2], self.now())
        started = self.now()
        value = self.runner.run(both())
        assert value == (self.model[key][0] if hit else f"{key}{old}")
        now = self.now
        self.now = lambda: started + 0.5  # type: ignore[method-assign]  # when the change happened
        if how == "put":
            self.store(during, f"{during}{self.source.version}")
        else:
            self.drop(during)
        self.now = now  # type: ignore[method-assign]
        if not hit and during != key:
            self.store(key, f"{key}{old}")

    @rule(key=KEYS)
    def put(self, key: str) -> None:
        self.source.version += 1
        self.run(lambda: self.lru.put(key, f"{key}{self.source.version}"))
        self.store(key, f"{key}{self.source.version}")

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        self.expire(key)
        expected = self.model[key][0] if key in self.model else None
        assert self.run(lambda: self.lru.pop(key)) == expected
        self.drop(key)

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def tick(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule(idle_s=st.sampled_from([1.0, 4.0]))
    def sweep(self, idle_s: float) -> None:
        idle = [key for key in self.order if self.model[key][2] <= self.now() - idle_s]
        assert self.run(lambda: self.lru.sweep(idle_s)) == len(idle)
        for key in idle:
            self.drop(key)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "lru"):
            return
        assert list(self.lru._entries) == self.order
        assert {key: entry.value for key, entry in self.lru._entries.items()} == {
            key: value for key, (value, _, _) in self.model.items()
        }
        assert not self.lru._loads

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


AgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestLruAgainstModel = AgainstModel.TestCase
