"""What all tests share: how property tests search, and the marker that asks for virtual time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.cluster.fixtures"]  # here, since only the topmost conftest may name plugins

# "fixed" finds the same examples on every run and is never slow enough to fail for it;
# HYPOTHESIS_PROFILE=explore (or nightly) searches on with fresh examples.
_QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
# Phase.explain is left out: it traces every line of every run.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
settings.register_profile(
    "fixed", deadline=None, derandomize=True, max_examples=60, suppress_health_check=_QUIET, phases=_PHASES
)
settings.register_profile(
    "explore", deadline=None, max_examples=1000, suppress_health_check=_QUIET, phases=_PHASES
)
settings.register_profile("ci", parent=settings.get_profile("fixed"), max_examples=200)
settings.register_profile("nightly", parent=settings.get_profile("explore"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "virtual_clock: run this async test on a loop whose time jumps instead of passing"
    )
