"""The work queue: nothing asked is lost, nothing runs twice at once, urgent goes first, failures wait."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zenlead.kube.queue import Lane, Schedule, WorkQueue
from zenlead.kube.schedule import BACKOFF_BASE_S, BACKOFF_CAP_S, FAILING_INTERVAL_S

URGENT, FRESH, ROUTINE = Lane
ALL = tuple(Lane)


def schedule(*, jitter: float = 1.0, min_interval_s: float = 0.0) -> Schedule[str]:
    """Jitter 1 (the limit of what random gives) makes each delay the full one."""
    return Schedule(jitter=lambda: jitter, min_interval_s=min_interval_s)


def test_a_key_is_taken_once_and_first_in_is_first_out() -> None:
    s = schedule()
    for key in ("b", "a", "b", "c"):
        s.add(key, 0.0, ROUTINE)
    assert [s.take(0.0, ALL) for _ in range(4)] == ["b", "a", "c", None]


def test_an_event_during_the_pass_is_not_lost() -> None:
    s = schedule()
    s.add("a", 0.0, ROUTINE)
    assert s.take(0.0, ALL) == "a"
    for at in (0.1, 0.2, 0.3):
        s.add("a", at, ROUTINE)
    assert s.take(0.4, ALL) is None, "two workers on one key"
    s.done("a")
    assert s.take(0.5, ALL) == "a"
    s.done("a")
    assert s.take(9.0, ALL) is None, "three events are one more pass"
    assert len(s) == 0


def test_a_dirty_key_comes_back_in_the_most_urgent_lane_asked() -> None:
    s = schedule()
    s.add("a", 0.0, ROUTINE)
    s.take(0.0, ALL)
    s.add("a", 1.0, ROUTINE)
    s.add("a", 1.0, URGENT)
    s.done("a")
    assert s.take(1.0, (ROUTINE,)) is None
    assert s.take(1.0, (URGENT,)) == "a"
    s.done("a")
    assert len(s) == 0


def test_urgent_overtakes_and_upgrades() -> None:
    s = schedule()
    for key in ("a", "b", "c"):
        s.add(key, 0.0, ROUTINE)
    s.add("c", 0.0, URGENT)
    assert s.take(0.0, (ROUTINE,)) == "a"
    assert s.take(0.0, ALL) == "c"
    s.done("c")
    assert [s.take(0.0, ALL) for _ in range(2)] == ["b", None]


def test_an_urgent_pass_does_not_swallow_a_later_routine_one() -> None:
    s = schedule()
    s.add("a", 5.0, ROUTINE)
    s.add("a", 0.0, URGENT)
    assert s.take(0.0, ALL) == "a"
    s.done("a")
    assert s.take(4.9, ALL) is None
    assert s.take(5.0, ALL) == "a"


def test_the_earliest_delay_wins() -> None:
    s = schedule()
    for at in (5.0, 3.0, 4.0):
        s.add("a", at, ROUTINE)
    assert s.next_at(ALL) == 3.0
    assert s.take(2.999, ALL) is None
    assert s.take(3.0, ALL) == "a"
    s.done("a")
    assert s.take(100.0, ALL) is None


def test_a_check_that_fires_early_asks_again_for_the_rest() -> None:
    s = schedule()
    s.add("a", 4.997, ROUTINE)
    assert s.take(4.998, ALL) == "a"
    s.add("a", 5.0, ROUTINE)  # "not yet": the remaining time, asked from inside the pass
    s.done("a")
    assert s.next_at(ALL) == 5.0
    assert s.take(5.0, ALL) == "a"


def test_backoff_doubles_to_the_cap_and_success_resets_it() -> None:
    s = schedule()
    now, delays = 0.0, []
    s.add("a", now, ROUTINE)
    for _ in range(12):
        assert s.take(now, ALL) == "a"
        delays.append(s.retry("a", now, ROUTINE))
        s.done("a")
        assert s.take(now + delays[-1] * 0.99, ALL) is None
        now += delays[-1]
    assert delays == [min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**n) for n in range(12)]
    assert s.take(now, ALL) == "a"
    s.done("a")
    assert len(s) == 0, "success forgets the failures"
    s.add("a", now, ROUTINE)
    s.take(now, ALL)
    assert s.retry("a", now, ROUTINE) == BACKOFF_BASE_S


def test_jitter_never_makes_a_delay_zero_and_many_failures_do_not_overflow() -> None:
    s = schedule(jitter=0.0)
    assert s.retry("a", 0.0, ROUTINE) == BACKOFF_BASE_S / 2
    for _ in range(5000):
        last = s.retry("a", 0.0, ROUTINE)
    assert last == BACKOFF_CAP_S / 2


def test_a_failing_key_with_constant_news_does_not_spin_and_is_not_deaf() -> None:
    s = schedule()
    now, passes = 0.0, 0
    s.add("a", 0.0, ROUTINE)
    while now < 120.0:
        if s.take(now, ALL):
            passes += 1
            s.retry("a", now, ROUTINE)
            s.done("a")
        s.add("a", now, ROUTINE)
        now += 0.01
    assert 110 <= passes <= 120 / FAILING_INTERVAL_S + 10


def test_an_urgent_ask_does_not_wait_for_the_backoff() -> None:
    s = schedule()
    s.add("a", 0.0, ROUTINE)
    s.take(0.0, ALL)
    for _ in range(20):
        s.retry("a", 0.0, ROUTINE)
    s.done("a")
    s.add("a", 0.1, URGENT)
    assert s.take(0.1, ALL) == "a"


def test_when_an_outage_ends_failing_keys_do_not_wait_for_their_backoff() -> None:
    dice = random.Random(3)
    schedule: Schedule[str] = Schedule(jitter=dice.random)
    for key in ("sleeps", "runs", "soon"):
        schedule.add(key, 0.0, Lane.URGENT)
    for _ in range(12):  # until the delay is the cap
        for key in ("sleeps", "runs", "soon"):
            schedule.add(key, 0.0, Lane.URGENT)
            assert schedule.take(0.0, [Lane.URGENT]) == key
            schedule.retry(key, 0.0, Lane.ROUTINE)
            schedule.done(key)
    schedule.add("well", 20.0, Lane.ROUTINE)
    schedule.add("runs", 1.0, Lane.URGENT)
    assert schedule.take(1.0, [Lane.URGENT]) == "runs"
    assert schedule.next_at([Lane.ROUTINE]) is not None
    schedule.hasten(1.0, 2.0)
    schedule.retry("runs", 9.0, Lane.ROUTINE)
    schedule.done("runs")  # it hung, and failed after all
    assert schedule.take(3.0, [Lane.ROUTINE]) == "sleeps"
    assert schedule.take(3.0, [Lane.ROUTINE]) == "soon"
    assert schedule.take(9.0, [Lane.ROUTINE]) == "runs"
    assert schedule.take(19.9, [Lane.ROUTINE]) is None, "what does not fail keeps its time"
    assert schedule.failures("sleeps") == 12, "nobody knows yet that it would succeed"


def test_to_hasten_delays_nothing_and_spreads() -> None:
    schedule: Schedule[int] = Schedule(jitter=random.Random(3).random)
    for key in range(100):
        schedule.add(key, 0.0, Lane.ROUTINE)
        schedule.take(0.0, [Lane.ROUTINE])
        schedule.retry(key, 0.0, Lane.ROUTINE)
        schedule.done(key)
    schedule.hasten(0.0, 100.0)
    taken = [
        at for at in (0.03, 0.04, 0.05) for _ in iter(lambda at=at: schedule.take(at, [Lane.ROUTINE]), None)
    ]
    assert len(taken) == 100
    assert len(set(taken)) > 1


def test_forget_makes_the_next_failure_the_first_and_keeps_what_was_asked() -> None:
    s = schedule()
    for _ in range(5):
        s.retry("a", 0.0, ROUTINE)
    s.forget("a")
    assert s.retry("a", 0.0, ROUTINE) == BACKOFF_BASE_S
    assert s.take(60.0, ALL) == "a"


def test_min_interval_coalesces_churn_but_never_delays_urgent_work() -> None:
    s = schedule(min_interval_s=1.0)
    taken, now = [], 0.0
    for step in range(100):
        now = step / 32
        s.add("a", now, ROUTINE)
        if s.take(now, ALL):
            taken.append(now)
            s.forget("a")  # as workers do after a success
            s.done("a")
    assert taken == [0.0, 1.0, 2.0, 3.0]
    s.add("a", now, URGENT)
    assert s.take(now, ALL) == "a"
    s.done("a")
    assert s.take(4.0, ALL) == "a"
    s.done("a")
    s.advance(5.0)
    assert len(s) == 0


def test_overtaken_heap_entries_do_not_pile_up() -> None:
    s = schedule()
    for n in range(10_000):
        s.add("a", 1e6 - n, ROUTINE)
    assert len(s._later[ROUTINE]._heap) < 200
    assert s.next_at(ALL) == 1e6 - 9999


def test_a_hundred_thousand_keys() -> None:
    s: Schedule[int] = Schedule(jitter=random.random)
    started = time.process_time()
    for n in range(100_000):
        s.add(n, n % 7, Lane(n % 3))
    taken = 0
    while (key := s.take(10.0, ALL)) is not None:
        s.done(key)
        taken += 1
    assert taken == 100_000
    assert len(s) == 0
    assert time.process_time() - started < 10, "anything quadratic takes minutes"


class AgainstModel(RuleBasedStateMachine):
    """The same moves on a Schedule and on a model that searches linearly and keeps no heap."""

    KEYS = st.sampled_from("abcd")
    LANES = st.sampled_from(list(Lane))

    @initialize(min_interval=st.sampled_from([0.0, 2.0]))
    def start(self, min_interval: float) -> None:
        self.min_interval = min_interval
        self.schedule: Schedule[str] = Schedule(jitter=lambda: 1.0, min_interval_s=min_interval)
        self.now = 0.0
        self.ready: dict[Lane, list[str]] = {lane: [] for lane in Lane}
        self.later: dict[tuple[str, Lane], float] = {}
        self.active: dict[str, dict[Lane, float]] = {}
        self.failed: set[str] = set()
        self.failures: dict[str, tuple[int, float, float]] = {}
        self.spaced: dict[str, float] = {}

    def place(self, key: str, at: float, lane: Lane) -> None:
        if key in self.active:
            self.active[key][lane] = min(at, self.active[key].get(lane, at))
        elif key not in self.ready[lane]:
            self.later[key, lane] = min(at, self.later.get((key, lane), at))

    def come_due(self) -> None:
        for lane in Lane:
            due = [key for (key, of), at in self.later.items() if of is lane and at <= self.now]
            for key in sorted(due, key=lambda key: self.later[key, lane]):
                at = self.later.pop((key, lane))
                if key in self.active:
                    self.place(key, at, lane)
                elif not any(key in self.ready[better] for better in Lane if better < lane):
                    for worse in Lane:
                        if worse > lane and key in self.ready[worse]:
                            self.ready[worse].remove(key)
                    self.ready[lane].append(key)

    @rule(key=KEYS, lane=LANES, delay=st.sampled_from([0.0, 0.5, 3.0, 40.0]))
    def add(self, key: str, lane: Lane, delay: float) -> None:
        self.schedule.add(key, self.now + delay, lane)
        at = self.now + delay
        if lane is not URGENT:
            at = max(at, self.spaced.get(key, 0.0))
            if key in self.failures:
                _, failed_at, retry_at = self.failures[key]
                at = max(at, min(retry_at, failed_at + FAILING_INTERVAL_S))
        self.place(key, at, lane)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 7.0, 31.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds

    @rule(lanes=st.sampled_from([ALL, (URGENT,), (FRESH,), (ROUTINE,)]))
    def take(self, lanes: tuple[Lane, ...]) -> None:
        self.come_due()
        self.spaced = {key: until for key, until in self.spaced.items() if until > self.now}
        expected = next((lane for lane in sorted(lanes) if self.ready[lane]), None)
        key = self.schedule.take(self.now, lanes)
        if expected is None:
            assert key is None
            return
        assert key is not None
        assert key in self.ready[expected]
        assert key not in self.active
        self.ready[expected].remove(key)
        self.active[key] = {}
        if expected is not URGENT and self.min_interval:
            self.spaced[key] = self.now + self.min_interval

    @precondition(lambda self: self.active)
    @rule(pick=st.integers(min_value=0, max_value=3))
    def done(self, pick: int) -> None:
        key = sorted(self.active)[pick % len(self.active)]
        self.schedule.done(key)
        if key not in self.failed:
            self.failures.pop(key, None)
        self.failed.discard(key)
        for lane, at in self.active.pop(key).items():
            self.place(key, at, lane)

    @rule(key=KEYS, lane=LANES)
    def retry(self, key: str, lane: Lane) -> None:
        count = self.failures.get(key, (0, 0.0, 0.0))[0] + 1
        delay = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (count - 1))
        assert self.schedule.retry(key, self.now, lane) == delay
        self.failures[key] = (count, self.now, self.now + delay)
        if key in self.active:
            self.failed.add(key)
        self.place(key, self.now + delay, lane)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.schedule.forget(key)
        self.failures.pop(key, None)

    @invariant()
    def agrees(self) -> None:
        waiting = [at for (_, lane), at in self.later.items() if lane is URGENT]
        assert self.schedule.next_at((URGENT,)) == min(waiting, default=None)
        assert {lane: self.schedule.due(lane) for lane in Lane} == {k: len(v) for k, v in self.ready.items()}

    def teardown(self) -> None:
        if not hasattr(self, "schedule"):
            return
        for key in list(self.active):
            self.schedule.done(key)
        for key in {*"abcd"}:
            self.schedule.forget(key)
        while (key := self.schedule.take(self.now + 1000, ALL)) is not None:
            self.schedule.done(key)
        self.schedule.advance(self.now + 2000)
        assert len(self.schedule) == 0


AgainstModel.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestScheduleAgainstModel = AgainstModel.TestCase


@pytest.mark.virtual_clock
async def test_get_waits_for_the_exact_time() -> None:
    q: WorkQueue[str] = WorkQueue()
    q.add("late", after_s=7.0)
    q.add("soon", after_s=3.0)
    loop = asyncio.get_running_loop()
    assert (await q.get(ALL), loop.time()) == ("soon", 3.0)
    assert (await q.get(ALL), loop.time()) == ("late", 7.0)


@pytest.mark.virtual_clock
async def test_an_earlier_ask_moves_the_timer_forward() -> None:
    q: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    q.add("a", after_s=60.0)
    async with asyncio.TaskGroup() as tasks:
        got = tasks.create_task(q.get(ALL))
        await asyncio.sleep(1)
        q.add("a", URGENT)
    assert got.result() == "a"
    assert loop.time() == 1.0


@pytest.mark.virtual_clock
async def test_lanes_wake_apart_and_only_as_many_as_needed() -> None:
    q: WorkQueue[str] = WorkQueue()
    woken: list[str] = []

    async def worker(name: str, lane: Lane) -> None:
        while (key := await q.get((lane,))) is not None:
            woken.append(f"{name}:{key}")
            await asyncio.sleep(1)
            q.done(key)

    async with asyncio.TaskGroup() as tasks:
        for n in range(3):
            tasks.create_task(worker(f"u{n}", URGENT))
            tasks.create_task(worker(f"r{n}", ROUTINE))
        await asyncio.sleep(1)
        q.add("x", URGENT)
        q.add("y", ROUTINE)
        groups = list(q._groups.values())
        assert [group.woken for group in groups] == [1, 1]
        await asyncio.sleep(0.5)
        assert sorted(woken) == ["r0:y", "u0:x"]
        assert [group.woken for group in groups] == [0, 0]
        q.add("z", ROUTINE, after_s=0.25)
        await asyncio.sleep(2)
        assert woken[-1] == "r1:z"
        q.shutdown()


@pytest.mark.virtual_clock
async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    q: WorkQueue[str] = WorkQueue()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(q.get((URGENT,)))
        second = tasks.create_task(q.get((URGENT,)))
        await asyncio.sleep(1)
        q.add("a", URGENT)
        first.cancel()
    assert first.cancelled()
    assert second.result() == "a"


@pytest.mark.virtual_clock
async def test_all_workers_come_up_for_a_burst_and_no_key_runs_twice_at_once() -> None:
    q: WorkQueue[int] = WorkQueue(jitter=lambda: 0.5)
    running: set[int] = set()
    passes: dict[int, int] = {}
    rng = random.Random(4)

    async def worker() -> None:
        while (key := await q.get(ALL)) is not None:
            assert key not in running
            running.add(key)
            await asyncio.sleep(rng.random())
            passes[key] = passes.get(key, 0) + 1
            if rng.random() < 0.2:
                q.retry(key, Lane(rng.randrange(3)))
            running.discard(key)
            q.done(key)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(worker())
        for n in range(300):
            q.add(n % 40, Lane(n % 3), after_s=rng.random() * 3)
            if n % 10 == 0:
                await asyncio.sleep(0.1)
        await asyncio.sleep(600)
        assert set(passes) == set(range(40))
        assert len(q._schedule) == 0
        assert q.longest_running_s() == 0
        assert sum(stats.taken for stats in q.stats.values()) == sum(passes.values())
        q.shutdown()
    assert await q.get(ALL) is None


@pytest.mark.virtual_clock
async def test_a_busy_worker_does_not_hide_the_timer_from_the_others() -> None:
    q: WorkQueue[str] = WorkQueue()
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []

    async def worker() -> None:
        while (key := await q.get(ALL)) is not None:
            seen.append((key, loop.time()))
            await asyncio.sleep(100)
            q.done(key)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(worker())
        await asyncio.sleep(0)
        q.add("later", after_s=5.0)
        q.add("now")
        await asyncio.sleep(10)
        q.shutdown()
    assert seen == [("now", 0.0), ("later", 5.0)]


@pytest.mark.virtual_clock
async def test_statistics_say_how_long_keys_waited_and_what_runs_too_long() -> None:
    q: WorkQueue[str] = WorkQueue()
    q.add("a")
    q.add("b", URGENT)
    q.add("c", after_s=50)
    assert (q.due(URGENT), q.due(ROUTINE)) == (1, 1)
    await asyncio.sleep(2)
    assert await q.get(ALL) == "b"
    await asyncio.sleep(3)
    assert await q.get(ALL) == "a"
    assert q.longest_running_s() == 3
    assert (q.stats[URGENT].waited_s, q.stats[ROUTINE].waited_s) == (2, 5)
    q.retry("a")
    assert (q.stats[ROUTINE].added, q.stats[ROUTINE].retried, q.stats[URGENT].taken) == (2, 1, 1)
    assert repr(q).startswith("WorkQueue(Schedule(urgent=0 fresh=0 routine=0 later=1 active=2 failing=1)")
