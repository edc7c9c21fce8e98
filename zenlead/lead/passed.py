"""Pods that one thing only keeps from being fit, which their owner would want to know.

Knows an address that no slice may carry, and a port that does not resolve. Refuses to know who leads.
Rule: a few are named, always the same ones: a thousand pods of one broken template are one piece of news.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zenlead.lead.addresses import refused
from zenlead.lead.contract import Reason
from zenlead.lead.ports import Unresolved, resolve
from zenlead.lead.rollout import revision
from zenlead.lead.select import Need, unfit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from zenlead.lead.views import PodView

MAX_NAMED = 5  # per Service; addresses are told for each pod, and nobody reads more


class PassedOver(msgspec.Struct, frozen=True):
    """``pod`` would be fit but for ``reason``. ``what`` is the address or the port, ``why`` says it in words;
    ``told_as`` is the same for pods of which one stands for all."""

    pod: PodView
    reason: Reason  # NO_IP or PORT_UNRESOLVED
    what: str
    why: str
    told_as: str


def passed_over(pods: Iterable[PodView], fit: Collection[PodView], need: Need) -> tuple[PassedOver, ...]:
    """Those among ``pods`` that are not ``fit`` for one reason only; one for each template and port."""
    fit_uids = {pod.uid for pod in fit}
    found: dict[str, PassedOver] = {}
    for pod in sorted((p for p in pods if p.uid not in fit_uids), key=lambda p: p.name):
        one = _by_address(pod, need) or _by_port(pod, need)
        if one is not None:
            found.setdefault(one.told_as, one)
    return tuple(found.values())[:MAX_NAMED]


def _by_address(pod: PodView, need: Need) -> PassedOver | None:
    if unfit(pod, need) is not Reason.NO_IP or unfit(pod, Need(need.source, ())) is not None:
        return None
    blamed = next(filter(None, (refused(pod, family) for family in need.families)), None)
    if blamed is None:  # it has none, or of the other family; that is no fault of it
        return None
    ip, why = blamed
    return PassedOver(pod, Reason.NO_IP, ip, f"its address {ip} is {why}", f"{pod.uid}/{ip}")


def _by_port(pod: PodView, need: Need) -> PassedOver | None:
    if unfit(pod, need) is not Reason.PORT_UNRESOLVED:
        return None
    failed = resolve(need.source.ports, pod)
    if not isinstance(failed, Unresolved):
        return None
    why = f"target port {failed} does not resolve on it"
    told_as = f"{revision(pod) or pod.uid}/{failed}"
    return PassedOver(pod, Reason.PORT_UNRESOLVED, failed.port_name, why, told_as)
