"""What a large list leaves behind goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zenlead.kube import memory

if TYPE_CHECKING:
    import pytest

# Small blocks, so that each is of the heap; the last one holds the others back.
PROGRAM = """
from pathlib import Path
from zenlead.kube import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = resident()
blocks = [bytes(4000) for _ in range(5000)]
last = blocks[-1]
del blocks
kept = resident() - before
memory.give_back()
print(kept, resident() - before)
"""


def test_what_is_free_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(memory.__file__).parents[2],
    )
    kept, left = map(int, done.stdout.split())
    assert kept > 15e6, "freed, and kept by the allocator"
    assert left < 2e6


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        pass

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: Other())
    memory.be_frugal()
    memory.give_back()
