"""Three replicas, wild clocks, crashes, a bad network, hands that meddle: never two, and soon one again."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulated.clock import WallClock, run_virtual
from tests.simulated.leaseserver import Door, Fault, LeaseServer
from zenlead.kube.facts import ElectionChanged
from zenlead.kube.lease import ElectionOptions, Elector

if TYPE_CHECKING:
    from collections.abc import Callable

TROUBLE_S = 180.0
# After the trouble: a request that hung when it ended (5 s), a poll that has just missed the change and was
# jittered (2.4 s), the time a deleted Lease is left to its holder (4 s), what that holder was promised
# (15 s), and the requests that take the Lease.
# All by the slowest clock.
SKEW = 0.1  # how wrong the rate of a replica's clock is at most
BOUND_S = (5.0 + 2.4 + 4.0 + 15.0 + 1.0) / (1 - SKEW)
LOOK_EVERY_S = 0.05


class Skewed:
    """The time by one machine's clock: it began somewhere else, and runs fast or slow."""

    def __init__(self, dice: random.Random) -> None:
        self._loop = asyncio.get_running_loop()
        self._rate = 1 + dice.uniform(-SKEW, SKEW)
        self._began = dice.uniform(0.0, 1e6)

    def time(self) -> float:
        return self._began + self._loop.time() * self._rate


class Party:
    """Three Electors on one server; knows at each moment who may act."""

    def __init__(self, seed: int, weather: dict[str, float]) -> None:
        self.rng = random.Random(seed)
        self.weather = weather
        self.server = LeaseServer()
        self.calm = True
        self.doors: dict[str, Door] = {}
        self.cut_off: set[str] = set()
        self.clocks: dict[str, WallClock] = {}
        self.electors: dict[str, Elector] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.lives = 0
        self.terms = 0

    def begin(self, name: str, tasks: asyncio.TaskGroup) -> None:
        """A replica starts, or crashes and is followed by one that knows nothing, under another name."""
        if name in self.running:
            self.running[name].cancel()
        self.lives += 1
        door = self.doors[name] = Door(self.server, self.fault_of(name))
        clock = self.clocks[name] = WallClock(drift=self.rng.uniform(-0.3, 0.3))
        self.electors[name] = Elector(
            door,
            ElectionOptions(f"{name}{self.lives}", "kube", "zen"),
            self.heard,
            now=clock,
            jitter=self.rng.random,
            untouched=lambda: False,
        )
        self.electors[name]._loop = Skewed(self.rng)  # type: ignore[assignment]  # it asks it for the time only
        self.running[name] = tasks.create_task(self.electors[name].run())

    def heard(self, fact: Any) -> None:
        if isinstance(fact, ElectionChanged):
            self.terms += fact.is_leader
            self.look()

    def look(self) -> list[str]:
        """Who may act now; more than one is the failure that all this is about."""
        acting = [name for name, elector in self.electors.items() if elector.fence() > 0]
        assert len(acting) <= 1, f"{acting} act at once at {asyncio.get_running_loop().time()}"
        return acting

    def fault_of(self, name: str) -> Callable[[], Fault]:
        def fault() -> Fault:
            return Fault(lost=True) if name in self.cut_off and not self.calm else self.fault()

        return fault

    def fault(self) -> Fault:
        if self.calm:
            return Fault(0.01, 0.01)
        slow = self.weather["slow_s"]
        return Fault(
            there_s=self.rng.expovariate(1.0) * slow,
            back_s=self.rng.expovariate(1.0) * slow,
            lost=self.rng.random() < self.weather["lost"],
            reply_lost=self.rng.random() < self.weather["reply_lost"],
            refused=self.rng.random() < self.weather["refused"],
        )

    def nonsense(self) -> dict[str, Any]:
        """What no replica would write, as far as a server stores it."""
        stranger = {"holderIdentity": "stranger", "renewTime": str(self.rng.random())}
        return self.rng.choice(
            [
                {**stranger, "leaseDurationSeconds": 2},
                {**stranger, "leaseDurationSeconds": 15, "leaseTransitions": -7},
                stranger,
                {
                    **stranger,
                    "holderIdentity": self.rng.choice(list(self.electors.values()))._options.identity,
                },
                {**self.server.spec, "renewTime": None, "acquireTime": None},
                {"holderIdentity": None, "leaseDurationSeconds": None},
            ]
        )

    async def meddle(self, tasks: asyncio.TaskGroup) -> None:
        """Somebody sets clocks, ends replicas, cuts them off, and deletes, empties and edits the Lease."""
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / self.weather["meddle_every_s"]))
            name = self.rng.choice("abc")
            match self.rng.randrange(8):
                case 0:
                    self.clocks[name].jump(self.rng.choice([-86400.0, -30.0, -1e-6, 30.0, 86400.0]))
                case 1:
                    self.server.put(None)
                case 2:
                    self.server.put({})
                case 3:
                    self.server.put({**self.server.spec, "holderIdentity": ""})
                case 4:
                    self.server.put({**self.server.spec})
                case 5:
                    self.server.put(self.nonsense())
                case 6:
                    self.begin(name, tasks)
                case _:
                    self.cut_off ^= {name}

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            for name in "abc":
                self.begin(name, tasks)
            watcher = tasks.create_task(self.watch())
            self.calm = False
            meddler = tasks.create_task(self.meddle(tasks))
            await asyncio.sleep(TROUBLE_S)
            meddler.cancel()
            self.calm = True
            calm_at = loop.time()
            while not self.look():
                await asyncio.sleep(LOOK_EVERY_S)
                assert loop.time() <= calm_at + BOUND_S, f"nobody leads: {self.electors}"
            # What was sent during the trouble may still arrive; then the leadership is steady.
            await asyncio.sleep(60)
            leader, terms = self.look(), self.terms
            await asyncio.sleep(120)
            assert (self.look(), self.terms) == (leader, terms)
            for task in (*self.running.values(), watcher):
                task.cancel()


@settings(max_examples=25)
@given(
    seed=st.integers(min_value=0, max_value=2**32),
    weather=st.fixed_dictionaries(
        {
            "slow_s": st.sampled_from([0.0, 0.05, 1.0, 4.0]),
            "lost": st.sampled_from([0.0, 0.1, 0.5]),
            "reply_lost": st.sampled_from([0.0, 0.1, 0.5]),
            "refused": st.sampled_from([0.0, 0.2]),
            "meddle_every_s": st.sampled_from([3.0, 10.0, 40.0, 1000.0]),
        }
    ),
)
def test_never_two_at_once_and_soon_one_again(seed: int, weather: dict[str, float]) -> None:
    async def play() -> None:
        await Party(seed, weather).play()

    run_virtual(play)


async def test_a_patient_holder_is_never_robbed_by_an_impatient_candidate() -> None:
    server = LeaseServer()
    ghost = {"holderIdentity": "ghost", "leaseDurationSeconds": 60, "leaseTransitions": 3}
    server.put({**ghost, "renewTime": "0"})
    elector = Elector(Door(server), ElectionOptions("me", "kube", "zen"), lambda fact: None, now=WallClock())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(elector.run())
        for second in range(20, 621, 20):
            await asyncio.sleep(20)
            assert server.writes == 0
            server.put({**ghost, "renewTime": str(second)})
        died_at = asyncio.get_running_loop().time()
        await elector.wait_leading()
        assert 60.0 <= asyncio.get_running_loop().time() - died_at <= 62.4
        assert server.spec["leaseTransitions"] == 4
        running.cancel()


@pytest.mark.parametrize("dies", ["crash", "cut off"])
async def test_a_dead_leader_is_followed_within_a_stated_time(dies: str) -> None:
    party = Party(7, {})
    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            party.begin(name, tasks)
        running = party.running
        await asyncio.sleep(60)
        (leader,) = party.look()
        died_at = asyncio.get_running_loop().time()
        if dies == "crash":
            running[leader].cancel()
            del party.electors[leader]
        else:
            party.doors[leader].fault = lambda: Fault(lost=True)
        others = [elector.wait_leading() for name, elector in party.electors.items() if name != leader]
        waits = [tasks.create_task(wait) for wait in others]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        assert asyncio.get_running_loop().time() - died_at <= (15.0 + 0.6 + 0.2) / (1 - SKEW)
        for task in (*running.values(), *waits):
            task.cancel()
