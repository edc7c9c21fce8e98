"""The election on a Lease: who may act and until when, whatever the network and other people's clocks do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.simulated.clock import WallClock
from tests.simulated.leaseserver import MICRO_TIME, Door, Fault, LeaseServer
from zenlead.kube.election import Election, Read, State, Wait, Write
from zenlead.kube.errors import Conflict, Forbidden, Invalid, NotFound, Throttled, Unreachable
from zenlead.kube.facts import ElectionChanged, LeaseFailed
from zenlead.kube.lease import ElectionOptions, Elector, NoElection
from zenlead.kube.leaseobject import decode_lease
from zenlead.kube.microtime import micro_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WALL = 1_700_000_000.0
HANGS = Fault(lost=True)


def options(identity: str = "me", **given: Any) -> ElectionOptions:
    return ElectionOptions(identity, "kube", "zen", **given)


def election(identity: str = "me", **given: Any) -> Election:
    return Election(options(identity, **given), jitter=lambda: 0.0)


def lease_of(
    holder: str | None,
    *,
    version: int = 1,
    renewed: str = "t1",
    seconds: int | None = 15,
    transitions: int = 0,
) -> Any:
    spec = {"leaseTransitions": transitions, "renewTime": renewed}
    if holder is not None:
        spec["holderIdentity"] = holder
    if seconds is not None:
        spec["leaseDurationSeconds"] = seconds
    return decode_lease(msgspec.json.encode({"metadata": {"resourceVersion": str(version)}, "spec": spec}))


def accepted(write: Write, *, version: int = 2) -> Any:
    """What a server answers to ``write``."""
    body = msgspec.json.decode(write.body)
    body["metadata"]["resourceVersion"] = str(version)
    return decode_lease(msgspec.json.encode(body))


def lead(machine: Election, at: float = 0.0) -> None:
    """Let ``machine`` take a Lease that does not exist, its write begun at ``at``."""
    machine.observe(at, None)
    write = machine.step(at, WALL)
    assert isinstance(write, Write)
    assert write.create
    machine.accept(at, at, accepted(write))
    assert machine.state is State.LEADING


def spec_of(write: Write) -> dict[str, Any]:
    spec: dict[str, Any] = msgspec.json.decode(write.body)["spec"]
    return spec


@pytest.mark.parametrize("second", [0.0, 0.5, 0.999999, 0.9999999])
def test_times_always_have_six_digits(second: float) -> None:
    assert MICRO_TIME.fullmatch(micro_time(WALL + second))
    assert micro_time(WALL) == "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize(
    "given",
    [
        {"identity": ""},
        {"lease_duration_s": 0.5},
        {"lease_duration_s": 15.5},
        {"renew_deadline_s": 15.0},
        {"renew_deadline_s": 0.0},
        {"retry_period_s": 0.0},
        {"retry_period_s": 9.0},
    ],
)
def test_options_that_cannot_keep_holders_apart_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        options(**given)


def test_a_missing_lease_is_created_at_once_and_authority_counts_from_the_request() -> None:
    machine = election()
    assert machine.step(0.0, WALL) == Read(timeout_s=5.0)
    assert not machine.fail(0.1, Read(5.0), NotFound("none", status=404))
    write = machine.step(0.1, WALL)
    assert isinstance(write, Write)
    assert spec_of(write) == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2023-11-14T22:13:20.000000Z",
        "renewTime": "2023-11-14T22:13:20.000000Z",
        "leaseTransitions": 0,
    }
    machine.accept(0.1, 4.0, accepted(write))
    assert machine.authority(4.0) == pytest.approx(6.1)
    assert machine.authority(10.1) == 0.0


def test_a_reply_that_comes_after_the_deadline_gives_no_authority() -> None:
    machine = election()
    machine.observe(0.0, None)
    write = machine.step(0.0, WALL)
    assert isinstance(write, Write)
    machine.accept(0.0, 10.0, accepted(write))
    assert machine.state is State.CANDIDATE
    assert machine.authority(10.0) == 0.0
    assert isinstance(machine.step(10.0, WALL), Write), "the Lease is ours: renew at once"


def test_another_holder_is_left_alone_for_the_duration_in_its_lease() -> None:
    machine = election(lease_duration_s=15.0)
    machine.observe(0.0, lease_of("ghost", seconds=60))
    now = 0.0
    while now < 300.0:  # ghost renews every 20 s
        action = machine.step(now, WALL)
        assert not isinstance(action, Write), f"robbed at {now}"
        if isinstance(action, Wait):
            assert action.until > now
            now = action.until
        else:
            machine.observe(now, lease_of("ghost", seconds=60, renewed=f"t{now // 20}", version=int(now)))
    assert machine.holder == "ghost"


def test_a_dead_holder_is_followed_exactly_when_its_duration_is_over() -> None:
    machine = election()
    now = 0.0
    while not isinstance(action := machine.step(now, WALL), Write):
        if isinstance(action, Wait):
            now = action.until
        else:
            # Somebody keeps editing labels: the version moves, but that is no sign of life of the holder.
            machine.observe(now, lease_of("ghost", seconds=7, version=int(now * 10) + 1, transitions=4))
    assert now == 7.0
    assert spec_of(action)["leaseTransitions"] == 5
    assert not action.create


def test_a_lease_given_back_is_taken_at_once_but_an_emptied_one_is_not() -> None:
    released, emptied = election(), election()
    released.observe(0.0, lease_of("", seconds=1))
    assert isinstance(released.step(0.0, WALL), Write)
    emptied.observe(0.0, lease_of("ghost", seconds=20))
    emptied.observe(1.0, lease_of("", seconds=None, version=2))
    assert isinstance(emptied.step(1.0, WALL), Wait)
    emptied.observe(20.9, lease_of("", seconds=None, version=2))
    assert isinstance(emptied.step(20.9, WALL), Wait)
    emptied.observe(21.0, lease_of("", seconds=None, version=2))
    assert isinstance(emptied.step(21.0, WALL), Write)


def test_a_deleted_lease_is_left_to_its_holder_and_then_created_but_not_acted_on_at_once() -> None:
    machine = election()
    machine.observe(0.0, lease_of("ghost", seconds=20))
    machine.observe(2.0, None)
    assert isinstance(machine.step(2.0, WALL), Wait)
    now = 6.0
    machine.observe(now, None)
    version = 10
    while machine.state is not State.LEADING:
        action = machine.step(now, WALL)
        if isinstance(action, Wait):
            now = action.until
            continue
        assert isinstance(action, Write)
        assert action.create == (version == 10)
        version += 1
        machine.accept(now, now, accepted(action, version=version))
        assert machine.holder == "me"
    # Created at 6; ghost, not seen since 0, may have renewed until then, each time for 20 s.
    assert now == 26.0


def test_a_missing_lease_is_no_first_start_where_somebody_has_acted_before() -> None:
    """It may have been deleted just now, with its holder at work: let that restore it, and else wait."""
    machine = Election(options(), jitter=lambda: 0.0, untouched=lambda: False)
    machine.observe(0.0, None)
    assert isinstance(machine.step(0.0, WALL), Wait)
    machine.observe(4.0, None)
    write = machine.step(4.0, WALL)
    assert isinstance(write, Write)
    assert write.create
    machine.accept(4.0, 4.0, accepted(write))
    assert machine.authority(4.0) == 0.0
    renewal = machine.step(18.9, WALL)
    assert isinstance(renewal, Write)
    machine.accept(18.9, 18.9, accepted(renewal, version=3))
    assert machine.authority(18.9) == 0.0
    renewal = machine.step(19.0, WALL)
    assert isinstance(renewal, Write)
    machine.accept(19.0, 19.0, accepted(renewal, version=4))
    assert machine.authority(19.0) == 10.0


def test_a_creation_whose_reply_was_lost_is_waited_for_too() -> None:
    machine = Election(options(), jitter=lambda: 0.0, untouched=lambda: False)
    machine.observe(0.0, None)
    machine.observe(4.0, None)
    claim = machine.step(4.0, WALL)
    assert isinstance(claim, Write)
    machine.fail(9.0, claim, Unreachable("no answer"))
    machine.observe(9.0, accepted(claim))
    renewal = machine.step(9.0, WALL)
    assert isinstance(renewal, Write)
    machine.accept(9.0, 9.0, accepted(renewal, version=3))
    assert machine.authority(9.0) == 0.0


def test_who_comes_back_under_its_own_name_acts_at_once() -> None:
    """A container that was restarted: its Lease names it, and the one before it is dead."""
    machine = Election(options(), jitter=lambda: 0.0, untouched=lambda: False)
    machine.observe(0.0, lease_of("me"))
    renewal = machine.step(0.0, WALL)
    assert isinstance(renewal, Write)
    machine.accept(0.0, 0.0, accepted(renewal))
    assert machine.authority(0.0) == 10.0


def test_a_candidate_looks_often_enough_that_a_lease_given_back_does_not_lie_about() -> None:
    machine = Election(options(), jitter=lambda: 1.0)
    machine.observe(0.0, lease_of("ghost"))
    now, looked = 0.0, [0.0]
    while now < 14.0:
        action = machine.step(now, WALL)
        if isinstance(action, Wait):
            now = action.until
        else:
            looked.append(now)
            machine.observe(now, lease_of("ghost"))
    assert max(later - sooner for sooner, later in itertools.pairwise(looked)) <= 0.6 + 1e-9
    assert machine.fail(now, Read(5.0), Unreachable("down"))
    waited = machine.step(now, WALL)
    assert isinstance(waited, Wait)
    assert waited.until >= looked[-1] + 2.0, "a server that fails is asked less often"


@pytest.mark.parametrize("created", [True, False])
def test_a_claim_whose_reply_was_lost_needs_the_waiting_only_if_it_was_a_creation(created: bool) -> None:
    machine = election()
    machine.observe(0.0, lease_of("ghost"))
    machine.observe(20.0, None if created else lease_of("", seconds=1, version=2))
    machine.observe(24.0, None if created else lease_of("", seconds=1, version=2))
    claim = machine.step(24.0, WALL)
    assert isinstance(claim, Write)
    machine.fail(29.0, claim, Unreachable("no answer"))
    machine.observe(29.0, accepted(claim, version=3))
    renewal = machine.step(29.0, WALL)
    assert isinstance(renewal, Write)
    machine.accept(29.0, 29.0, accepted(renewal, version=4))
    assert machine.state is (State.CANDIDATE if created else State.LEADING)
    assert machine.authority(29.0) == (0.0 if created else 10.0)


def test_a_lease_emptied_twice_counts_anew() -> None:
    machine = election()
    machine.observe(0.0, lease_of("", seconds=None, version=5))
    machine.observe(14.0, lease_of("", seconds=None, version=7))  # somebody may have come and gone between
    machine.observe(28.9, lease_of("", seconds=None, version=7))
    assert isinstance(machine.step(28.9, WALL), Wait)
    machine.observe(29.0, lease_of("", seconds=None, version=7))
    assert isinstance(machine.step(29.0, WALL), Write)


@pytest.mark.parametrize(
    "lease", [None, lease_of("", seconds=1, version=9), lease_of(None, seconds=None, version=9)]
)
def test_the_holder_takes_a_deleted_or_emptied_lease_back_at_once(lease: Any) -> None:
    machine = election()
    lead(machine)
    action = machine.step(2.0, WALL)
    assert isinstance(action, Write)
    machine.fail(2.1, action, NotFound("gone") if lease is None else Conflict("changed"))
    assert isinstance(machine.step(2.1, WALL), Read)
    machine.observe(2.2, lease)
    action = machine.step(2.2, WALL)
    assert isinstance(action, Write)
    assert action.create == (lease is None)
    machine.accept(2.2, 2.3, accepted(action))
    assert machine.authority(2.3) == pytest.approx(9.9)


def test_a_shortened_lease_does_not_shorten_what_its_holder_was_promised() -> None:
    machine = election()
    machine.observe(0.0, lease_of("ghost", seconds=15))
    machine.observe(1.0, lease_of("ghost", seconds=1, version=2))
    machine.observe(15.9, lease_of("ghost", seconds=1, version=2))
    assert isinstance(machine.step(15.9, WALL), Wait)


def test_another_name_in_a_lease_does_not_end_what_its_holder_was_promised() -> None:
    """Somebody may have written it by hand, and the holder may not be able to see that."""
    machine = election()
    machine.observe(0.0, lease_of("ghost", seconds=15))
    machine.observe(1.0, lease_of("nobody knows", seconds=3, version=2))
    machine.observe(15.9, lease_of("nobody knows", seconds=3, version=2))
    assert isinstance(machine.step(15.9, WALL), Wait)
    machine.observe(16.0, lease_of("nobody knows", seconds=3, version=2))
    assert isinstance(machine.step(16.0, WALL), Write)


def test_a_holder_that_cannot_renew_stops_before_others_may_start_and_competes_again() -> None:
    machine, other = election(), election("other")
    lead(machine, at=100.0)
    other.observe(100.0, lease_of("me"))
    now, asked = 100.0, 0
    while True:
        action = machine.step(now, WALL)
        if machine.state is not State.LEADING:
            break
        if isinstance(action, Wait):
            now = action.until
        else:
            assert now + action.timeout_s <= 110.0, "a request outlives the authority"
            now += action.timeout_s
            asked += 1
            machine.fail(now, action, Unreachable("no answer"))
    assert now == 110.0
    assert asked >= 2
    assert isinstance(other.step(110.0, WALL), Wait)
    machine.observe(126.0, lease_of("other", version=7))
    assert isinstance(machine.step(126.0, WALL), Wait)
    machine.observe(141.0, lease_of("other", version=7))
    assert isinstance(machine.step(141.0, WALL), Write), "a candidate again"


def test_seeing_another_holder_ends_a_leadership_at_once() -> None:
    machine = election()
    lead(machine)
    machine.observe(3.0, lease_of("thief", version=8))
    assert machine.authority(3.0) == 0.0
    assert machine.reason == "thief took the Lease"


def test_a_lost_reply_is_followed_by_a_read_and_then_a_renewal_on_what_was_read() -> None:
    machine = election()
    lead(machine)
    lost = machine.step(2.0, WALL + 2)
    assert isinstance(lost, Write)
    machine.fail(4.5, lost, Unreachable("reset"))
    assert isinstance(machine.step(4.5, WALL), Read)
    machine.observe(4.6, accepted(lost, version=3))
    assert machine.authority(4.6) == pytest.approx(5.4), "an unanswered renewal gives nothing"
    renewal = machine.step(4.6, WALL)
    assert isinstance(renewal, Write)
    assert msgspec.json.decode(renewal.body)["metadata"]["resourceVersion"] == "3"


def test_renew_times_never_repeat_even_if_the_wall_clock_goes_back() -> None:
    machine = election()
    lead(machine)
    seen = []
    for n, wall in enumerate((WALL, WALL, WALL - 3600, WALL - 3598, WALL + 1)):
        now = 2.0 * (n + 1)
        write = machine.step(now, wall)
        assert isinstance(write, Write)
        seen.append(spec_of(write)["renewTime"])
        machine.accept(now, now, accepted(write, version=n + 3))
    assert seen == sorted(set(seen))
    assert spec_of(write)["acquireTime"] == "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize(
    "error", [Invalid("bad time", status=400), Forbidden("rbac", status=403), NotFound("no ns")]
)
def test_a_refusal_stays_visible_until_a_write_succeeds(error: Any) -> None:
    machine = election()
    machine.observe(0.0, None)
    write = machine.step(0.0, WALL)
    assert isinstance(write, Write)
    assert machine.fail(0.0, write, error)
    assert machine.refused
    assert machine.problem == f"Lease kube/zen: {error.message}"
    machine.observe(2.0, None)
    assert machine.refused, "that reads succeed does not help"
    write = machine.step(2.0, WALL)
    assert isinstance(write, Write)
    machine.accept(2.0, 2.0, accepted(write))
    assert (machine.refused, machine.problem) == (False, None)


def test_conflicts_in_a_row_do_not_spin() -> None:
    machine = election()
    lead(machine)
    now, writes = 2.0, 0
    while now < 60.0:
        action = machine.step(now, WALL)
        if isinstance(action, Wait):
            now = action.until
        elif isinstance(action, Read):
            machine.observe(now, lease_of("me", version=writes + 10))
        else:
            writes += 1
            machine.fail(now, action, Conflict("again"))
    assert writes <= 62


def test_patience_asked_for_is_given_but_not_beyond_the_leadership() -> None:
    machine = election()
    lead(machine)
    write = machine.step(2.0, WALL)
    assert isinstance(write, Write)
    machine.fail(2.0, write, Throttled("slow down", status=429, retry_after_s=5.0))
    assert machine.step(2.0, WALL) == Wait(7.0)
    machine.fail(7.0, Read(1.0), Throttled("slow down", status=429, retry_after_s=3600.0))
    assert machine.step(7.0, WALL) == Wait(10.0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"metadata":{"resourceVersion":"1"},"spec":{"renewTime":7}}', b"{}"]
)
def test_what_is_no_lease_is_a_refusal_not_a_crash(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_lease(body)


class Replica:
    """An Elector that runs, with what it said."""

    def __init__(self, server: LeaseServer, name: str, **given: Any) -> None:
        self.facts: list[Any] = []
        self.door = Door(server)
        self.elector = Elector(
            self.door, options(name, **given), self.facts.append, now=WallClock(), jitter=lambda: 0.5
        )

    def changes(self) -> list[tuple[bool, str]]:
        return [(fact.is_leader, fact.holder) for fact in self.facts if isinstance(fact, ElectionChanged)]


@contextlib.asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(replica.elector.run()) for replica in replicas]
        yield
        for task in started:
            task.cancel()


@pytest.mark.virtual_clock
async def test_one_leads_and_the_other_takes_over_at_once_when_it_leaves() -> None:
    server = LeaseServer()
    a, b = Replica(server, "a"), Replica(server, "b")
    async with running(a, b):
        await asyncio.wait_for(a.elector.wait_leading(), 1)
        await asyncio.sleep(60)
        assert (a.elector.is_leader, b.elector.is_leader) == (True, False)
        assert b.elector.lease_reachable
        assert b.elector.holder == "a"
        renewals = [at for at, verb in a.door.requests if verb == "patch"]
        assert [later - sooner for sooner, later in itertools.pairwise(renewals)] == [2.0] * 29
        await a.elector.release()
        assert a.elector.fence() == 0
        assert (server.spec["holderIdentity"], server.spec["leaseDurationSeconds"]) == ("", 1)
        await asyncio.wait_for(b.elector.wait_leading(), 2.4)
        assert server.spec["leaseTransitions"] == 1
    assert a.changes() == [(True, "a"), (False, "a")]
    assert b.changes() == [(False, "a"), (False, ""), (True, "b")]
    assert "a stopped" in repr(a.elector)


@pytest.mark.virtual_clock
async def test_hanging_lease_requests_hand_over_without_overlap_and_both_ways() -> None:
    server = LeaseServer()
    a, b = Replica(server, "a"), Replica(server, "b")
    async with running(a, b):
        await asyncio.wait_for(a.elector.wait_leading(), 1)
        await asyncio.sleep(10)
        for leader, standby in ((a, b), (b, a)):
            leader.door.fault = lambda: HANGS
            for _ in range(250):
                await asyncio.sleep(0.1)
                assert leader.elector.fence() == 0 or standby.elector.fence() == 0
            assert standby.elector.is_leader
            assert not leader.elector.lease_reachable
            assert "no answer" in (leader.elector.problem or "")
            leader.door.fault = Fault
            await asyncio.sleep(8)
            assert leader.elector.lease_reachable
            assert leader.elector.problem is None
            assert standby.elector.is_leader
    assert b.changes()[-1] == (False, "a")


@pytest.mark.virtual_clock
async def test_release_gives_back_a_lease_that_somebody_touched_but_not_one_that_is_lost() -> None:
    server = LeaseServer()
    a = Replica(server, "a")
    async with running(a):
        await asyncio.wait_for(a.elector.wait_leading(), 1)
        server.put({**server.spec})  # a new version
        await a.elector.release()
        assert server.spec["holderIdentity"] == ""
    b = Replica(server, "b")
    async with running(b):
        await asyncio.wait_for(b.elector.wait_leading(), 3)
        server.put({**server.spec, "holderIdentity": "other"})
        await b.elector.release()
        assert server.spec["holderIdentity"] == "other"


@pytest.mark.virtual_clock
async def test_release_does_not_hang_and_does_not_raise() -> None:
    server = LeaseServer()
    a = Replica(server, "a")
    async with running(a):
        await asyncio.wait_for(a.elector.wait_leading(), 1)
        a.door.fault = lambda: HANGS
        started = asyncio.get_running_loop().time()
        await a.elector.release()
        assert asyncio.get_running_loop().time() - started == 1.5
        assert a.elector.fence() == 0
    assert a.facts[-1] == LeaseFailed("not released within 1.5 s", refused=False)
    b = Replica(server, "b")
    b.door.fault = lambda: Fault(refused=True)
    await b.elector.release()
    assert not b.door.requests, "nothing was held"


@pytest.mark.virtual_clock
async def test_a_machine_that_slept_knows_at_once_that_it_may_not_act() -> None:
    """The loop's time goes on while it sleeps, so that nobody need run before the answer is right."""
    server = LeaseServer()
    a = Replica(server, "a")
    async with running(a):
        await asyncio.wait_for(a.elector.wait_leading(), 1)
        asyncio.get_running_loop().jump(10.1)  # type: ignore[attr-defined]  # the virtual loop's
        assert (a.elector.fence(), a.elector.is_leader) == (0, False)


@pytest.mark.virtual_clock
async def test_a_change_that_nobody_could_hear_is_told_again() -> None:
    heard: list[bool] = []

    def hear(fact: Any) -> None:
        if isinstance(fact, ElectionChanged):
            heard.append(fact.is_leader)
            if len(heard) == 1:
                raise LookupError("the listener fails")

    elector = Elector(Door(LeaseServer()), options(), hear, now=WallClock())
    with pytest.raises(LookupError):
        await elector.run()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(elector.run())
        await asyncio.sleep(5)
        running.cancel()
    assert heard == [True, True]


@pytest.mark.virtual_clock
async def test_a_refused_lease_is_said_and_shown() -> None:
    server = LeaseServer()
    server.put({"holderIdentity": "", "leaseDurationSeconds": 1})

    def refuse(body: dict[str, Any]) -> bytes:
        raise Invalid("spec.renewTime: bad", status=422)

    server.patch = refuse  # type: ignore[method-assign]  # the server's mood, not a part of it
    a = Replica(server, "a")
    async with running(a):
        for _ in range(20):
            await asyncio.sleep(1)
            assert not a.elector.lease_reachable
            assert a.elector.problem == "Lease kube/zen: spec.renewTime: bad"
    failures = [fact for fact in a.facts if isinstance(fact, LeaseFailed)]
    assert all(fact.refused for fact in failures)
    assert 8 <= len(failures) <= 11


@pytest.mark.virtual_clock
async def test_without_an_election_one_always_leads() -> None:
    facts: list[Any] = []
    alone = NoElection("me", facts.append)
    await alone.wait_leading()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(alone.run())
        await asyncio.sleep(3600)
        assert not running.done(), "a core task ends when it is told to"
        await alone.release()
    assert (alone.fence(), alone.is_leader, alone.lease_reachable) == (float("inf"), True, True)
    assert facts == [ElectionChanged(is_leader=True, holder="me", reason="leader election is off")]
