"""``zenlead config``: each setting as it counts and where it came from, for people and for programs.

Knows the two forms. Refuses to know who wins (reading.py says). The rule not to break: it shows everything
that it can where something is wrong, and never anything but settings: no knob is a secret, and no content of
a file that a setting names is shown.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from zenlead.cli.failures import EXIT_OK, EXIT_USAGE, complain
from zenlead.settings import KNOB_BY_FLAG

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from zenlead.reading import Reading


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Output")
    group.add_argument(
        *("-o", "--output"),
        choices=("table", "json"),
        default="table",
        help="a table to read and to cut columns from, or JSON (default table)",
    )


def show(args: argparse.Namespace, reading: Reading) -> int:
    """Print the settings, then what is wrong with them. Returns 2 if anything is."""
    try:
        for line in _json(reading) if args.output == "json" else _table(reading):
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads, as head does, has seen enough; nor shall the flush at exit complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    complain(reading.problems)
    return EXIT_USAGE if reading.problems else EXIT_OK


def _table(reading: Reading) -> Iterator[str]:
    lines = [("FLAG", "VALUE", "FROM")]
    for flag, text, source in reading.effective():
        mark = " (refused)" if flag in reading.refused else ""
        lines.append((flag, _visible(text), source + mark))
    flags, values = (max(len(line[column]) for line in lines) for column in (0, 1))
    for flag, text, source in lines:
        yield f"{flag:<{flags}}  {text:<{values}}  {source}"


def _visible(text: str) -> str:
    """The text where it is a word on the screen, else as a quoted one."""
    return text if text and text.isprintable() else json.dumps(text)


def _json(reading: Reading) -> Iterator[str]:
    settings = [_setting(reading, *line) for line in reading.effective()]
    yield json.dumps({"settings": settings, "problems": reading.problems}, indent=2)


def _setting(reading: Reading, flag: str, text: str, source: str) -> dict[str, Any]:
    """Every name of a knob, and the text that counts, as its user would write it."""
    k = KNOB_BY_FLAG[flag]
    return {
        "flag": flag,
        "env": k.env,
        "key": k.key if k.in_file else None,
        "value": text,
        "source": source,
        "default": k.default,
        "allowed": k.parse.allowed,
        "live": k.live,
        "refused": flag in reading.refused,
    }
