"""The commands: their names, their flags and what they start.

Knows what each is for. Refuses to know how it works: the controller and the demo are loaded when they run, so
that ``--help`` answers at once. The rule not to break: a command returns its exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from zenlead.cli.arguments import Command, knob_arguments
from zenlead.knobs import INT_MAX, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zenlead.settings import Settings

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

_ABOUT_KNOBS = """\
A flag takes its value as --flag=value or --flag value, a BOOL only as --flag=false (--flag alone is true).
Each is also an environment variable and a key of the YAML file that --config names: --log-level,
ZEN_LEAD_LOG_LEVEL, logLevel. The flag wins, then the environment, then the file. A DURATION is written as
in Go: 1m30s, 250ms. Also read: POD_NAME, POD_NAMESPACE, WATCH_NAMESPACE, LOG_LEVEL, NO_COLOR, OTEL_*."""
_ABOUT_CLEANUP = """\
It deletes the leader Services that belong to a Service of yours, their EndpointSlices, and the Lease, which
it holds meanwhile: no replica may be running. Your Services and pods stay as they are."""
_ABOUT_EXIT_CODES = "Exit codes: 0 ok, 1 error, 2 wrong usage."


def _run(_: argparse.Namespace, settings: Settings) -> int:
    # Until the controller listens for it, it interrupts; without a handler, process 1 would not even hear it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    controller = importlib.import_module("zenlead.controller.run")
    with asyncio.Runner(loop_factory=controller.new_loop) as runner:
        status: int = runner.run(controller.run(settings))
    return status


def _config(_: argparse.Namespace, settings: Settings) -> int:
    """A table to read and to cut columns from; no knob is a secret, and nothing but knobs is shown."""
    lines = [("FLAG", "VALUE", "FROM")]
    lines += [(line.flag, line.text or '""', line.source) for line in settings.effective()]
    flags, values = (max(len(line[column]) for line in lines) for column in (0, 1))
    try:
        for flag, text, source in lines:
            print(f"{flag:<{flags}}  {text:<{values}}  {source}")
        sys.stdout.flush()
    except BrokenPipeError:  # who reads, as head does, has seen enough; nor shall the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def _cleanup(args: argparse.Namespace, settings: Settings) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as in run: it is the process 1 of a Job
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
    knob_arguments(parser)


def _demo(args: argparse.Namespace, _: Settings) -> int:
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
        knob_arguments,
        _run,
        f"{_ABOUT_KNOBS}\n{_ABOUT_EXIT_CODES}",
    ),
    "config": Command(
        "print each setting, its value and where that came from; takes the flags of run",
        knob_arguments,
        _config,
        f"{_ABOUT_KNOBS}\n{_ABOUT_EXIT_CODES}",
    ),
    "cleanup": Command(
        "delete all leader Services, for those who leave; takes the flags of run",
        _cleanup_arguments,
        _cleanup,
        f"{_ABOUT_CLEANUP}\n{_ABOUT_EXIT_CODES}",
    ),
    "demo": Command(
        "show elections and failovers on a small API server inside this process",
        _demo_arguments,
        _demo,
        _ABOUT_EXIT_CODES,
    ),
}
