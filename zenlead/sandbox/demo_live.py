"""The terminal of the demo: draws the picture a few times a second, and nothing else.

Knows rich, colours and the keyboard's echo. Refuses to know what the picture means. The rule: the terminal is
left as it was found, however the demo ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import termios
from typing import TYPE_CHECKING, TextIO

from zenlead.sandbox.demo_screen import PLAIN_GLYPHS, Line, Picture, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console
    from rich.text import Text

FRAME_S = 0.2  # one column of the time axis: the picture moves evenly
_NO_SCREEN = ("", "dumb", "unknown")  # values of TERM that promise no cursor


def possible(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether there is a terminal to draw on and something to draw with."""
    drawn_on = stream.isatty() and environ.get("TERM", "") not in _NO_SCREEN
    return drawn_on and importlib.util.find_spec("rich") is not None


async def show(look: Callable[[], Picture], busy: Callable[[], bool]) -> None:
    """Draw until cancelled, or until the terminal is gone.

    No frame is drawn while ``busy``: drawing would be part of what is timed.
    """
    # Imported here because rich is an extra, and only terminals need it.
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    with (
        contextlib.suppress(OSError, termios.error),
        silent_keyboard(),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            if not busy():
                width, height = console.size
                lines = draw(look(), width, height)
                live.update(Text("\n").join(_text(line, console) for line in lines), refresh=True)
            await asyncio.sleep(FRAME_S)


def _text(line: Line, console: Console) -> Text:
    from rich.text import Text  # noqa: PLC0415

    glyphs = PLAIN_GLYPHS if console.options.ascii_only else {}
    return Text.assemble(
        *((text.translate(glyphs), style) for text, style in line), no_wrap=True, overflow="crop"
    )


@contextlib.contextmanager
def silent_keyboard() -> Iterator[None]:
    """Keys that are pressed leave no marks on the picture; Ctrl-C works as ever."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
