"""The command line: argv becomes one command, its outcome an exit code and lines a person can act on.

Knows commands, flags and exit codes. Refuses to know what a command does: the controller and the demo are
loaded when they run, so that ``--help`` answers at once. The rule not to break: no traceback unasked for.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import os
import platform
import socket
import sys
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from zenlead import __version__
from zenlead.knobs import INT_MAX, Given, Knob, nearest, problem, whole
from zenlead.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from zenlead.lead.golang import parse_bool
from zenlead.settings import KNOB_BY_FLAG, KNOBS, Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# What a listening socket fails with: taken, not permitted, not of this machine, no such name (or not now).
_NO_ADDRESS = frozenset(
    {
        errno.EADDRINUSE,
        errno.EACCES,
        errno.EADDRNOTAVAIL,
        socket.EAI_NONAME,
        socket.EAI_AGAIN,
        socket.EAI_NODATA,
    }
)
_DEFAULT_COMMAND = "run"
_HELP_WIDTH = 100  # columns; wide enough for the longest flag beside its help, and fits most terminals
_HELP_COLUMN = 44
_ABOUT_KNOBS = """\
A flag takes its value as --flag=value or --flag value, a BOOL only as --flag=false (--flag alone is true).
Each is also an environment variable and a key of the YAML file that --config names: --log-level,
ZEN_LEAD_LOG_LEVEL, logLevel. The flag wins, then the environment, then the file. A DURATION is written as
in Go: 1m30s, 250ms. Also read: POD_NAME, POD_NAMESPACE, WATCH_NAMESPACE, LOG_LEVEL, NO_COLOR, OTEL_*."""
_ABOUT_EXIT_CODES = "Exit codes: 0 ok, 1 error, 2 wrong usage."


class UsageError(Exception):
    """The command line makes no sense; the message says what would."""


class Command(NamedTuple):
    """One word after ``zenlead``."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Settings], int]
    epilog: str


class _Parser(argparse.ArgumentParser):
    """argparse that reports instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help in two columns that long flags fit in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_HELP_COLUMN, width=_HELP_WIDTH)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises what a user can cause."""
    settings = Settings()
    try:
        command, args = _parse(list(sys.argv[1:] if argv is None else argv))
        settings = load(
            {k.flag: text for k in KNOBS if (text := getattr(args, k.field, None)) is not None}, os.environ
        )
        return command.run(args, settings)
    except (UsageError, SettingsError) as wrong:
        _complain(str(wrong).splitlines())
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if settings.log_level == "debug":
            traceback.print_exc()
        _complain(line for leaf in _leaves(error) for line in _explain(leaf, settings))
        return EXIT_ERROR


def _run(_: argparse.Namespace, settings: Settings) -> int:
    status: int = asyncio.run(importlib.import_module("zenlead.controller.run").run(settings))
    return status


def _demo(args: argparse.Namespace, _: Settings) -> int:
    status: int = importlib.import_module("zenlead.sandbox.demo").main(args)
    return status


def _knob_arguments(parser: argparse.ArgumentParser) -> None:
    groups: dict[str, Any] = {}
    for k in KNOBS:
        if k.group not in groups:
            groups[k.group] = parser.add_argument_group(k.group)
        default = f"default {k.default}" if k.default else "no default"
        groups[k.group].add_argument(
            f"--{k.flag}",
            dest=k.field,
            metavar=_metavar(k),
            help=f"{k.help} ({default}) [{k.env}]".replace("%", "%%"),
        )


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Demo")
    group.add_argument(
        "--rounds", metavar="N", type=_rounds, help="stop after N failovers; 1 if one went wrong"
    )
    group.add_argument("--hold", action="store_true", help="make no pod fail; leave that to your kubectl")


COMMANDS: Mapping[str, Command] = {
    "run": Command(
        "be the controller of a cluster (what zenlead does when no command is given)",
        _knob_arguments,
        _run,
        f"{_ABOUT_KNOBS}\n{_ABOUT_EXIT_CODES}",
    ),
    "demo": Command(
        "show elections and failovers on a small API server inside this process",
        _demo_arguments,
        _demo,
        _ABOUT_EXIT_CODES,
    ),
}


def _parse(argv: list[str]) -> tuple[Command, argparse.Namespace]:
    words = list(_normal(argv))
    at = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    named = words[at : at + 1]
    name = named[0] if named else _DEFAULT_COMMAND
    command = COMMANDS.get(name)
    if command is None:
        for word in words[:at]:
            _known_before_command(word)
        raise UsageError(f"unknown command {name!r}; known: {', '.join(COMMANDS)}")
    parser = _parser(name if named else "", command)
    args, rest = parser.parse_known_args(words[:at] + words[at + 1 :])
    for word in rest:
        flag = word.partition("=")[0]
        if not word.startswith("-"):
            raise UsageError(f"unexpected {word!r} after the command {name}; see zenlead {name} --help")
        if name == _DEFAULT_COMMAND:
            raise _unknown_flag(flag)
        raise UsageError(f"{flag} is no flag of zenlead {name}; see zenlead {name} --help")
    return command, args


def _known_before_command(word: str) -> None:
    """A word that follows an unknown flag looks like a command; the flag is what to complain about."""
    flag = word.partition("=")[0]
    if flag.removeprefix("--") not in KNOB_BY_FLAG and flag not in {"-h", "--help", "--version"}:
        raise _unknown_flag(flag)


def _unknown_flag(flag: str) -> UsageError:
    return UsageError(f"unknown flag {flag}; did you mean --{nearest(flag.lstrip('-'), KNOB_BY_FLAG)}?")


def _normal(argv: list[str]) -> Iterator[str]:
    """The same words with each knob as ``--flag=value``; ``-flag``, as Go takes it, is one form of that.

    A switch takes its value after ``=`` only, as in Go, where ``--leader-elect false`` quietly means true.
    """
    words = deque(argv)
    while words:
        word = words.popleft()
        flag, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        k = KNOB_BY_FLAG.get(flag) if word.startswith("-") else None
        if k is None:
            yield word
        elif equals:
            yield f"--{flag}={value}"
        elif k.is_switch:
            if words and _is_bool(words[0]):
                raise UsageError(f"--{flag} {words[0]}: write --{flag}={words[0]}")
            yield f"--{flag}=true"
        elif words:
            yield f"--{flag}={words.popleft()}"
        else:
            raise UsageError(f"--{flag} needs a value, such as --{flag}={k.default or _metavar(k)}")


def _parser(name: str, command: Command) -> _Parser:
    parser = _Parser(
        prog=f"zenlead {name}".strip(),
        usage=f"zenlead {name or '[command]'} [flags]",
        description=command.summary if name else _description(),
        epilog=command.epilog,
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    about = parser.add_argument_group("About")
    about.add_argument("-h", "--help", action="help", help="show this help")
    version = f"zenlead {__version__} (Python {platform.python_version()})"
    about.add_argument("--version", action="version", version=version, help="show the version")
    command.add_arguments(parser)
    return parser


def _description() -> str:
    commands = "\n".join(f"  {name:<8}{command.summary}" for name, command in COMMANDS.items())
    return f"Routes a Kubernetes Service to exactly one ready pod, the leader.\n\ncommands:\n{commands}"


def _metavar(k: Knob) -> str:
    """What kind of value stands after the flag."""
    if k.is_switch:
        return "BOOL"
    if k.field.endswith("_s"):
        return "DURATION"
    return "N" if isinstance(k.parse(k.default), int | float) else k.flag.rpartition("-")[2].upper()


def _rounds(text: str) -> int:
    try:
        return whole(1, INT_MAX)(text)
    except ValueError as refusal:
        raise argparse.ArgumentTypeError(f"{text!r} {refusal}") from None


def _is_bool(text: str) -> bool:
    try:
        parse_bool(text)
    except ValueError:
        return False
    return True


def _leaves(error: Exception) -> Iterator[Exception]:
    """The errors inside a TaskGroup's group, outermost first."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _explain(error: Exception, settings: Settings) -> Iterator[str]:
    """What happened and what to do, in one line."""
    api = sys.modules.get("zenlead.kube.api")  # who raised its ConfigError has loaded it
    text = " ".join(str(error).split())
    if api is not None and isinstance(error, api.ConfigError):
        yield text
    elif isinstance(error, Unreachable):
        yield f"cannot reach the API server: {text}; check --kubeconfig, --context and the network"
    elif isinstance(error, Unauthorized):
        yield f"the API server does not accept these credentials: {text}; check --kubeconfig and --context"
    elif isinstance(error, Forbidden):
        yield f"not allowed by the API server: {text}; check the roles of this account"
    elif isinstance(error, ApiError):
        yield f"the API server refused: {text}"
    elif isinstance(error, OSError) and error.errno in _NO_ADDRESS:
        yield _explain_address(error, settings)
    else:
        yield f"unexpected {type(error).__name__}: {text}; --log-level=debug shows where"


def _explain_address(error: OSError, settings: Settings) -> str:
    """Which flag asked for the address that could not be had."""
    address = str(error.filename or "")
    for line in settings.effective():
        if line.flag.endswith("-bind-address") and str(KNOB_BY_FLAG[line.flag].parse(line.text)) == address:
            reason = f"cannot listen there: {error.strerror}; choose another, or 0 to switch it off"
            return problem(line.flag, Given(line.text, line.source), reason)
    return f"cannot listen on {address or 'a port'}: {error.strerror}"


def _complain(lines: Iterator[str] | Sequence[str]) -> None:
    """Each line once, marked with who says it."""
    for line in dict.fromkeys(lines):
        print(f"zenlead: {line}", file=sys.stderr)
