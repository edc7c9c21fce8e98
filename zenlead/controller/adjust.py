"""Other parameters for a controller that runs.

Knows which parameters can be changed while it does, and which room each belongs to. Refuses to know where
they come from. The rule not to break: what is under way is neither interrupted nor lost, and what was decided
by other rules is looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.controller.workers import places
from zenlead.kube.lane import Lane

if TYPE_CHECKING:
    from zenlead.controller.assembly import Controller
    from zenlead.controller.parameters import Parameters


def adjust(controller: Controller, new: Parameters) -> None:
    """Go on with those of ``new`` that can be changed; the others are for the next start, and stay."""
    old, controller.parameters = controller.parameters, new
    if (new.qps, new.burst) != (old.qps, old.burst):
        controller.lanes.pace.change(new.qps, new.burst)
    controller.lanes.follow(new.retries)
    controller.queue.space(new.min_interval_s)
    controller.index_cache.load_timeout_s = new.index_timeout_s
    if new.index_sweep_s != old.index_sweep_s:
        controller.sweep_anew.set()
    if new.index_limit != old.index_limit:
        controller.caches.index_limit = new.index_limit
        controller.index_cache.sweep(0.0)  # each is made anew when it is asked for
    controller.workers.seats.set(places(new.max_concurrent_reconciles)[Lane.ROUTINE])
    if new.options != old.options:
        controller.reconciler.follow(new.options)
        if controller.workers.leading:
            controller.workers.enqueue(dict.fromkeys(controller.caches.keys(), Lane.ROUTINE))
