"""Who leads next, given who leads now.

Knows stickiness, failback, and when a leader that is not fit may stay for a while. Refuses to know why a pod
is not fit (select.py) and what is written (writes.py). Rule: whoever is new must be fit and ripe; only the
leader of this moment may be kept without, and only as its Service's annotations allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.lead.contract import Policy, Reason
from zenlead.lead.rollout import replaced_in
from zenlead.lead.select import Need, best, priority, ready_for, ripe_at, unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zenlead.lead.views import PodView

# Strategies that rank by what a rollout changes. The others say plainly whom they want.
ROLLOUT_AWARE = frozenset({"oldest", "ordinal"})


class Choice(msgspec.Struct, frozen=True):
    """``pod`` shall lead (None: nobody). ``kept_unfit``: it is the last leader, kept for want of a fit one.
    ``wake_at``: the choice may be another then, Unix seconds."""

    pod: PodView | None
    fit: tuple[PodView, ...]
    kept_unfit: bool = False
    wake_at: float | None = None


def choose(pods: Sequence[PodView], routed_uid: str, need: Need, policy: Policy, now: float) -> Choice:
    """The choice among the selected ``pods``; ``routed_uid`` leads now (empty: nobody does)."""
    fit = tuple(pod for pod in pods if unfit(pod, need) is None)
    routed = next((pod for pod in pods if pod.uid == routed_uid), None)
    if routed is not None and routed in fit:
        return _stay_or_yield(routed, pods, fit, need, policy=policy, now=now)
    lost = routed if routed is not None and unfit(routed, need) is Reason.NOT_READY else None
    if lost is not None and lost.unready_since is not None:
        patience_ends = lost.unready_since + policy.failover_min_delay_s
        if now < patience_ends:
            return Choice(lost, fit, wake_at=patience_ends)
    ripening = _soonest(ripe_at(pod, policy) for pod in fit if ripe_at(pod, policy) > now)
    ripe = (pod for pod in fit if ripe_at(pod, policy) <= now)
    rollout = replaced_in(pods, now) if policy.strategy in ROLLOUT_AWARE else {}
    successor = best(ripe, policy.strategy, need.source.uid, rollout)
    if successor is None and lost is not None and policy.keep_last:
        return Choice(lost, fit, kept_unfit=True, wake_at=ripening)
    return Choice(successor, fit, wake_at=ripening if successor is None or not policy.sticky else None)


def _stay_or_yield(
    leader: PodView,
    pods: Sequence[PodView],
    fit: tuple[PodView, ...],
    need: Need,
    *,
    policy: Policy,
    now: float,
) -> Choice:
    """A fit leader stays, unless another may take over. To stay, it need not have been ready for long."""
    rivals = [pod for pod in fit if pod is not leader]
    wait_s = 0.0
    if policy.sticky:
        wait_s = policy.failback_s or 0.0
        asked = policy.failback_s is not None
        rivals = [pod for pod in rivals if asked and priority(pod) > priority(leader)]
    due = {pod.uid: max(ripe_at(pod, policy), ready_for(pod, wait_s)) for pod in rivals}
    ready = [pod for pod in fit if pod is leader or due.get(pod.uid, float("inf")) <= now]
    later = _soonest(moment for moment in due.values() if moment > now)
    if len(ready) == 1:
        return Choice(leader, fit, wake_at=later)
    # Whoever goes in any case goes once: to the new revision. In which order the old ones end is no reason to
    # leave a fit leader. By ordinal each new pod would outrank the last, so the ordinal alone rules there.
    rollout = dict.fromkeys(replaced_in(pods, now), 1) if policy.strategy == "oldest" else {}
    return Choice(best(ready, policy.strategy, need.source.uid, rollout), fit, wake_at=later)


def _soonest(moments: Iterable[float]) -> float | None:
    return min(moments, default=None)
