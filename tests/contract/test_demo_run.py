"""``zenlead demo`` as a user runs it: a process of its own, without a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_S = 60  # three rounds take ten seconds on an idle machine

# Pods that give a wrong name, whoever asks: requests reach somebody who is not the leader.
IMPOSTORS = """
import sys
from zenlead.sandbox import kubelet
class Impostor(kubelet.PodServer):
    def __init__(self, name):
        super().__init__("web-9")
kubelet.PodServer = Impostor
from zenlead.cli import main
sys.exit(main(["demo", "--rounds", "1"]))
"""


@contextlib.contextmanager
def started(argv: Sequence[str], folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    environ = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "HOME")}
    environ |= {"TMPDIR": str(folder), "HOME": str(folder), "KUBECONFIG": "/nowhere"} | variables
    with subprocess.Popen(
        [sys.executable, *argv],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environ,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo may put files; it leaves none."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        assert list(Path(name).iterdir()) == []


def test_three_rounds_without_a_terminal(folder: Path) -> None:
    with started(["-m", "zenlead", "demo", "--rounds", "3"], folder) as process:
        out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, err) == (0, "")
    assert out.isascii()
    assert "join in with: export KUBECONFIG=" in out
    failovers = re.findall(
        r"failover (\d)  (\S.*?) +(web-\d) -> (web-\d)  slice +\d+ ms  answer +\d+ ms", out
    )
    assert [(number, fault) for number, fault, *_ in failovers] == [
        ("1", "not ready"),
        ("2", "deleted"),
        ("3", "crashed"),
    ]
    assert all(previous != leader for *_, previous, leader in failovers)
    counts = dict(re.findall(r"^  (\w[\w ]*?) +(\d+) +\d+ ms", out, re.MULTILINE))
    assert counts == {"not ready": "1", "deleted": "1", "crashed": "1", "all": "3"}
    assert "0 failed outside of them" in out
    assert out.splitlines()[-1].startswith("3 failovers, every promise kept, in ")


def test_a_broken_promise_is_exit_code_1(folder: Path) -> None:
    with started(["-c", IMPOSTORS], folder) as process:
        out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, err) == (1, "")
    assert "web-9 answered at the address of web-0" in out
    assert re.search(r"BROKEN \d+x +all requests answered by the leader", out)
    assert "not every promise was kept" in out.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(folder: Path, number: signal.Signals) -> None:
    with started(["-m", "zenlead", "demo", "--hold"], folder, TERM="dumb") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "leads" in line:
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=LONGEST_S)
    assert (process.returncode, err) == (128 + number, "")
    assert out.splitlines()[-1].startswith("0 failovers, every promise kept")


def test_nobody_who_reads_ends_it_quietly(folder: Path) -> None:
    with started(["-m", "zenlead", "demo"], folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=LONGEST_S)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE
