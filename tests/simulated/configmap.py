"""A mounted ConfigMap with one file, changed as a kubelet changes it, and a controller that was given it.

Knows how the file comes to change, and how run.py joins the rooms. Refuses to know settings.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import shutil
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.simulated.cluster import Cluster
from zenlead.controller.run import gauged, parameters_of, turning
from zenlead.kube.filewatch import LOOK_EVERY_S, FileWatch
from zenlead.observe import logs
from zenlead.observe.factlog import FactLog
from zenlead.observe.metrics import Metrics
from zenlead.observe.rooms import Build
from zenlead.observe.scrape import Scrape
from zenlead.reading import load
from zenlead.reload import Reload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

FELT_WITHIN_S = 2 * LOOK_EVERY_S + 0.1


class Mounted:
    """``path`` leads through two links to the file, as in a pod."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self.path = folder / "zenlead.yaml"
        self.put(text)
        self.path.symlink_to("..data/zenlead.yaml")

    def put(self, text: str) -> None:
        """Another version: a folder beside the old one, then the link is swapped, then the old one goes."""
        before = (self._folder / "..data").resolve()
        data = self._folder / f"..{next(self._numbers)}"
        data.mkdir()
        (data / "zenlead.yaml").write_text(text)
        (self._folder / "..data_tmp").symlink_to(data.name)
        (self._folder / "..data_tmp").rename(self._folder / "..data")
        if before.name.startswith("..") and before != data:
            shutil.rmtree(before, ignore_errors=True)


class Heard(list["Any"]):
    """Facts, and who hears each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.ears: list[Callable[[Any], None]] = []

    def append(self, fact: Any) -> None:
        super().append(fact)
        for ear in self.ears:
            ear(fact)


class Configured(Cluster):
    """A cluster whose controller has a config file, and metrics and a log as the process has them."""

    def __init__(
        self,
        mounted: Mounted,
        stderr: pytest.MonkeyPatch,
        flags: dict[str, str] | None = None,
        **environ: str,
    ) -> None:
        super().__init__(1)
        self.facts = self._heard = Heard()
        self.mounted = mounted
        self._out = io.TextIOWrapper(io.BytesIO(), write_through=True)
        stderr.setattr(sys, "stderr", self._out)
        stderr.setattr(logging.getLogger(), "handlers", [])
        self._environ = environ
        self.settings = load({"config": str(mounted.path), **(flags or {})}, environ)
        self._api: Any = SimpleNamespace(default_namespace="default")
        self._parameters = parameters_of(self.settings, self._api)
        self.scrape: Scrape
        self.metrics: Metrics
        self.reload: Reload

    async def start(self) -> None:
        await super().start()  # its task has not begun yet
        assert self.controller is not None
        form, level = self.settings.log_format, self.settings.log_level
        logs.configure(level=level, form=form, environ={})
        log = FactLog(logs.logger())
        monotonic = asyncio.get_running_loop().time
        rooms = gauged(self.controller)
        self.metrics = Metrics(build=Build("1"), now=self.wall, monotonic=monotonic, rooms=rooms)
        self.scrape = Scrape(self.metrics, self.settings.metrics_collection_timeout_seconds)

        self._heard.ears = [log.observe, self.metrics.observe]
        turn = turning(self.settings, self.controller, self._api, self.scrape, log)
        self.reload = Reload(
            self.settings, self._environ, turn=turn, notify=self.facts.append, wall=self.wall
        )
        self.controller.beside["config file"] = FileWatch(str(self.mounted.path), self.reload.read).run

    async def put(self, text: str) -> None:
        """Change the file, and wait until that must have been felt."""
        self.mounted.put(text)
        await asyncio.sleep(FELT_WITHIN_S)

    def lines(self) -> list[str]:
        """The log."""
        self._out.flush()
        body: Any = self._out.buffer
        return str(body.getvalue().decode()).splitlines()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of the log with this event."""
        told = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in told if line["event"] == name]

    def sample(self, name: str) -> float:
        """The value of a series without labels, or with those in ``name``."""
        text = "".join(self.metrics.pieces())
        (line,) = [line for line in text.splitlines() if line.startswith(f"zen_lead_{name} ")]
        return float(line.rpartition(" ")[2])
