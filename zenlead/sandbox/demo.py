"""``zenlead demo``: a cluster in this process, the controller against it, and somebody who watches closely.

Knows everybody who takes part, their entrances and exits; a composition root, as controller/run.py is.
Refuses to know what any of them does. The rule: the controller is the one of production and speaks HTTP like
everybody else, and after the demo no port, no file and no task is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zenlead.controller.assembly import Controller
from zenlead.controller.parameters import Parameters
from zenlead.kube.api import connect
from zenlead.sandbox import demo_live
from zenlead.sandbox.box import Sandbox
from zenlead.sandbox.demo_client import Client
from zenlead.sandbox.demo_play import Play
from zenlead.sandbox.demo_stage import PACE_S, Director, Keeper
from zenlead.sandbox.demo_world import NAMESPACE
from zenlead.sandbox.kubelet import Kubelet

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Coroutine

    from zenlead.kube.api import HttpApi

ELECTION_CONNECTIONS = 2  # as in production: a renewal never waits behind anything else
STOP_S = 5.0  # for the controller to give its Lease back


def main(args: argparse.Namespace) -> int:
    """Run the demo; ``args.rounds`` (a number or None) and ``args.hold`` are those of the command line.

    Returns 0, 1 when a promise was broken, or 128 and the number of the signal that ended it.
    """
    with tempfile.TemporaryDirectory(prefix="zenlead-") as folder:
        return asyncio.run(_perform(args.rounds, Path(folder) / "config", by_itself=not args.hold))


async def _perform(rounds: int | None, kubeconfig: Path, *, by_itself: bool) -> int:
    drawn = demo_live.possible(sys.stdout, os.environ)
    act = f"a fault every {PACE_S:g} s" if by_itself else "on hold"
    async with Sandbox(kubeconfig=kubeconfig) as box, _apis(kubeconfig) as (api, election_api, client_api):
        play = Play(box.objects, rounds, act, str(kubeconfig), drawn=drawn)
        play.heed_signals()
        play.begin()
        kubelet = Kubelet(box.server, time.time)
        client = Client(client_api, kubelet.proxy.resolve, play.referee)
        director = Director(client_api, kubelet, play.referee.stopwatch, lambda: play.sight.world, play.hurt)
        controller = Controller(api, election_api, _parameters(), wall=time.time, notify=play.hear)
        unsubscribe = box.objects.subscribe(play.follow)
        cast = [kubelet.run, Keeper(box.api, box.objects).run, client.run]
        if by_itself:
            cast.append(lambda: director.run(play.stuck))
        if drawn:
            cast.append(lambda: demo_live.show(lambda: play.picture(client.sent), _is_busy(play)))
        try:
            await _run_until(play.ended, cast, controller)
        finally:
            unsubscribe()
        play.end(client.sent)
        return play.exit_code()


def _is_busy(play: Play) -> Callable[[], bool]:
    return lambda: play.referee.stopwatch.current is not None


async def _run_until(
    ended: asyncio.Event, cast: list[Callable[[], Coroutine[Any, Any, None]]], controller: Controller
) -> None:
    """Everybody at once; at the end the cast goes first, and the controller in its own good order."""
    async with asyncio.TaskGroup() as group:
        lead = group.create_task(controller.run(), name="controller")
        tasks = [group.create_task(enter(), name=f"cast {at}") for at, enter in enumerate(cast)]
        await ended.wait()
        for task in tasks:
            task.cancel()
        controller.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await asyncio.wait([lead])
        lead.cancel()


@contextlib.asynccontextmanager
async def _apis(kubeconfig: Path) -> AsyncIterator[tuple[HttpApi, HttpApi, HttpApi]]:
    """Clients of the sandbox: the controller's, its elector's, and everybody else's."""
    async with contextlib.AsyncExitStack() as stack:
        api = await connect(kubeconfig=str(kubeconfig), context=None)
        stack.push_async_callback(api.close)
        election_api = api.clone(connections=ELECTION_CONNECTIONS)
        stack.push_async_callback(election_api.close)
        client_api = await connect(kubeconfig=str(kubeconfig), context=None)
        stack.push_async_callback(client_api.close)
        yield api, election_api, client_api


def _parameters() -> Parameters:
    return Parameters(identity="zenlead-demo", lease_namespace=NAMESPACE)
