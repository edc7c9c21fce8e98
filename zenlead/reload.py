"""A changed config file and a controller that runs: what can be turned is turned, the rest is told.

Knows the settings that count now, and how to read them again. Refuses to know when a file has changed
(kube/filewatch.py does) and what a setting does. The rules not to break: a file with a problem changes
nothing; what only a start can change is said once, and the old value stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zenlead.controller.facts import ConfigFact, ConfigRefused, ConfigReloaded, ConfigWaiting
from zenlead.reading import SettingsError, again, turned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zenlead.settings import Settings


class Reload:
    """``turn`` gets settings of which only those differ that can be turned. ``wall`` gives Unix seconds."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        turn: Callable[[Settings], None],
        notify: Callable[[ConfigFact], None],
        wall: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._environ = environ
        self._turn = turn
        self._notify = notify
        self._wall = wall
        self._begun = False
        self._waiting: dict[str, str] = {}  # by flag, the text that waits for the next start

    def __repr__(self) -> str:
        return f"Reload({self.settings.config}, for the next start: {', '.join(self._waiting) or 'nothing'})"

    async def read(self) -> None:
        """Read the file again. The first time says nothing if it is as it was at the start."""
        begun, self._begun = self._begun, True
        try:
            # A thread, for the parser takes its time with a file that is made to be slow.
            wanted = await asyncio.to_thread(again, self.settings, self._environ)
        except SettingsError as error:
            self._notify(ConfigRefused(error.problems))
            return
        after = turned(self.settings, wanted)
        if after.applied:
            self._turn(after.settings)
        self.settings = after.settings
        if begun or after.applied or after.waiting:
            self._notify(ConfigReloaded(after.applied, self._wall()))
        text = {line.flag: line.text for line in wanted.effective()}
        waiting = {flag: text[flag] for flag in after.waiting}
        if new := tuple(flag for flag in waiting if waiting[flag] != self._waiting.get(flag)):
            self._notify(ConfigWaiting(new))
        self._waiting = waiting
