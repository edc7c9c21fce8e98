"""From argv to one command and its flags.

Knows the grammar of the command line. Refuses to know which commands there are (commands.py says) and what
they do. The rule not to break: what makes no sense is a UsageError that says what
would.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from zenlead import __version__
from zenlead.build import UNKNOWN, this_build
from zenlead.knobs import Knob, nearest, switch
from zenlead.settings import KNOB_BY_FLAG, KNOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from zenlead.reading import Reading

DEFAULT_COMMAND = "run"
_HELP_WIDTH = 100  # columns; wide enough for the longest flag beside its help, and fits most terminals
_HELP_COLUMN = 44


class UsageError(Exception):
    """The command line makes no sense; the message says what would."""


class Command(NamedTuple):
    """One word after ``zenlead``."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Reading], int]
    epilog: str
    has_settings: bool = False  # takes a flag for each
    details: str = ""  # paragraphs before the flags


class _Parser(argparse.ArgumentParser):
    """argparse that reports instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help in two columns that long flags fit in."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_HELP_COLUMN, width=_HELP_WIDTH)


def parse(argv: Sequence[str], commands: Mapping[str, Command]) -> tuple[Command, argparse.Namespace]:
    """The command that ``argv`` names (else the default one) and its flags, None where they are not given.

    Raises UsageError; SystemExit after ``--help`` and ``--version``.
    """
    words = list(_normal(argv))
    at = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    named = words[at : at + 1]
    name = named[0] if named else DEFAULT_COMMAND
    command = commands.get(name)
    if command is None:
        for word in words[:at]:
            _known_before_command(word)
        raise UsageError(f"unknown command {name!r}; known: {', '.join(commands)}")
    parser = _parser(name if named else "", command, commands)
    args, rest = parser.parse_known_args(words[:at] + words[at + 1 :])
    for word in rest:
        flag = word.partition("=")[0]
        if not word.startswith("-"):
            raise UsageError(f"unexpected {word!r} after the command {name}; see zenlead {name} --help")
        if command.has_settings:
            raise _unknown_flag(flag)
        raise UsageError(f"{flag} is no flag of zenlead {name}; see zenlead {name} --help")
    return command, args


def _knob_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each knob, in its group."""
    groups: dict[str, Any] = {}
    for k in KNOBS:
        if k.group not in groups:
            groups[k.group] = parser.add_argument_group(k.group)
        default = f"default {k.default}" if k.default else "no default"
        turned = ", live" if k.live else ""
        groups[k.group].add_argument(
            f"--{k.flag}",
            dest=k.field,
            metavar=_metavar(k),
            help=f"{k.help} ({default}{turned}) [{k.env}]".replace("%", "%%"),
        )


def _known_before_command(word: str) -> None:
    """A word that follows an unknown flag looks like a command; the flag is what to complain about."""
    flag = word.partition("=")[0]
    if flag.removeprefix("--") not in KNOB_BY_FLAG and flag not in {"-h", "--help", "--version"}:
        raise _unknown_flag(flag)


def _unknown_flag(flag: str) -> UsageError:
    return UsageError(f"unknown flag {flag}; did you mean --{nearest(flag.lstrip('-'), KNOB_BY_FLAG)}?")


def _normal(argv: Sequence[str]) -> Iterator[str]:
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


def _parser(name: str, command: Command, commands: Mapping[str, Command]) -> _Parser:
    parser = _Parser(
        prog=f"zenlead {name}".strip(),
        usage=f"zenlead {name or '[command]'} [flags]",
        description="\n\n".join(filter(None, (command.summary, command.details)))
        if name
        else _description(commands),
        epilog=command.epilog,
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    about = parser.add_argument_group("About")
    about.add_argument("-h", "--help", action="help", help="show this help")
    about.add_argument("--version", action="version", version=_version(), help="show the version")
    command.add_arguments(parser)
    if command.has_settings:
        _knob_arguments(parser)
    return parser


def _version() -> str:
    """One line for a bug report."""
    commit, date = this_build(os.environ)
    told = [f"commit {commit}"] * (commit != UNKNOWN) + [f"built {date}"] * (date != UNKNOWN)
    return f"zenlead {__version__} ({', '.join([*told, f'Python {platform.python_version()}'])})"


def _description(commands: Mapping[str, Command]) -> str:
    listed = "\n".join(f"  {name:<9}{command.summary}" for name, command in commands.items())
    return (
        "Routes a Kubernetes Service to exactly one ready pod, the leader.\n\n"
        f"commands:\n{listed}\n\n"
        "zenlead COMMAND --help says more of one; below are the flags of run."
    )


def _metavar(k: Knob) -> str:
    """What stands for a value after the flag."""
    return k.flag.rpartition("-")[2].upper() if k.parse.word in {"TEXT", "WORD"} else k.parse.word


def _is_bool(text: str) -> bool:
    try:
        switch(text)
    except ValueError:
        return False
    return True
