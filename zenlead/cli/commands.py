"""The commands: their names, their flags and what they start.

Knows what each is for. Refuses to know how it works: the controller and the demo are loaded when they run, so
that ``--help`` answers at once. The rule not to break: a command returns its exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
from typing import TYPE_CHECKING

from zenlead.cli import config
from zenlead.cli.arguments import Command
from zenlead.knobs import INT_MAX, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.reading import Reading

_ABOUT_KNOBS = """\
A flag takes its value as --flag=value or --flag value, a BOOL only as --flag=false (--flag alone is true).
Each is also an environment variable and a key of the YAML file that --config names: --log-level,
ZEN_LEAD_LOG_LEVEL, logLevel. The flag wins, then the environment, then the file. The file is read again
when it changes: what is marked "live" above takes effect at once, the rest with the next start.
A DURATION is written as in Go: 1m30s, 250ms.
Also read: POD_NAME, POD_NAMESPACE, WATCH_NAMESPACE, LOG_LEVEL, NO_COLOR, OTEL_*."""
_ABOUT_CONFIG = """\
Nothing is started, and no cluster is asked. Give the flags and the environment that the controller has,
and see what it will work with. Where something is wrong all is shown nevertheless, with a line for each
problem on standard error, and the exit code is 2: a check for a file before it is rolled out.

  zenlead config --config=zenlead.yaml
  zenlead config -o json | jq -r '.settings[] | select(.source != "default") | .flag'"""
_ABOUT_CLEANUP = """\
It deletes the leader Services that belong to a Service of yours, their EndpointSlices, and the Lease, which
it holds meanwhile: no replica may be running. Your Services and pods stay as they are."""
_ABOUT_EXIT_CODES = "Exit codes: 0 ok, 1 error, 2 wrong usage."


def _nothing(_: argparse.ArgumentParser) -> None:
    """``run`` has no flags but those of the settings."""


def _run(_: argparse.Namespace, reading: Reading) -> int:
    settings = reading.settings()
    # Until the controller listens for it, it interrupts; without a handler, process 1 would not even hear it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    controller = importlib.import_module("zenlead.controller.run")
    with asyncio.Runner(loop_factory=controller.new_loop) as runner:
        status: int = runner.run(controller.run(settings))
    return status


def _cleanup(args: argparse.Namespace, reading: Reading) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as in run: it is the process 1 of a Job
    settings = reading.settings()
    controller = importlib.import_module("zenlead.controller.run")
    doing = controller.cleanup(settings, really=args.yes and not settings.dry_run, after_pods=args.after_pods)
    status: int = asyncio.run(doing)
    return status


def _cleanup_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Cleanup")
    group.add_argument("--yes", action="store_true", help="delete; else only print what would be deleted")
    group.add_argument(
        "--after-pods",
        metavar="LABELS",
        default="",
        help="wait until no pod of zenlead's own namespace has these labels, such as app=zenlead",
    )


def _demo(args: argparse.Namespace, _: Reading) -> int:
    status: int = importlib.import_module("zenlead.sandbox.demo").main(args)
    return status


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Demo")
    group.add_argument(
        "--rounds", metavar="N", type=_rounds, help="stop after N failovers; 1 if one went wrong"
    )
    group.add_argument("--hold", action="store_true", help="make no pod fail; leave that to your kubectl")


def _rounds(text: str) -> int:
    try:
        return whole(1, INT_MAX)(text)
    except ValueError as refusal:
        raise argparse.ArgumentTypeError(f"{text!r} {refusal}") from None


COMMANDS: Mapping[str, Command] = {
    "run": Command(
        "be the controller of a cluster (what zenlead does when no command is given)",
        _nothing,
        _run,
        f"{_ABOUT_KNOBS}\n\n{_ABOUT_EXIT_CODES}",
        has_settings=True,
    ),
    "config": Command(
        "print each setting, its value and where that came from; takes the flags of run",
        config.arguments,
        config.show,
        f"{_ABOUT_KNOBS}\n\n{_ABOUT_EXIT_CODES}",
        has_settings=True,
        details=_ABOUT_CONFIG,
    ),
    "cleanup": Command(
        "delete all leader Services, for those who leave; takes the flags of run",
        _cleanup_arguments,
        _cleanup,
        f"{_ABOUT_KNOBS}\n\n{_ABOUT_EXIT_CODES}",
        has_settings=True,
        details=_ABOUT_CLEANUP,
    ),
    "demo": Command(
        "show elections and failovers on a small API server inside this process",
        _demo_arguments,
        _demo,
        _ABOUT_EXIT_CODES,
    ),
}
