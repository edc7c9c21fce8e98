"""The command line: argv becomes one command, its outcome an exit code and lines a person can act on.

Knows what a command may end with. Refuses to know what a command does. The rule not to break: no traceback
unasked for.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from zenlead.cli.arguments import UsageError, parse
from zenlead.cli.commands import COMMANDS
from zenlead.cli.failures import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, complain, explain
from zenlead.reading import SettingsError, examine
from zenlead.settings import KNOBS, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises what a user can cause."""
    settings = Settings()
    try:
        command, args = parse(sys.argv[1:] if argv is None else argv, COMMANDS)
        reading = examine(
            {k.flag: text for k in KNOBS if (text := getattr(args, k.field, None)) is not None}, os.environ
        )
        settings = reading.found or settings
        return command.run(args, reading)
    except (UsageError, SettingsError) as wrong:
        complain(str(wrong).splitlines())
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:
        if settings.log_level == "debug":
            traceback.print_exc()
        complain(explain(error, settings))
        return EXIT_ERROR
