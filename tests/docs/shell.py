"""A shell in which the commands of the pages mean what they say, against a test's own namespaces.

Knows the names that the pages use (zen-lead-system, team-a, words in CAPITALS) and which programs cannot work
without a kubelet or an image. Refuses to know pages. The rule not to break: kubectl, helm and zenlead are the
real ones; a stand-in may only spare what takes a kubelet, the network or minutes, and checks what it can.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

from tests.cluster import build
from tests.docs.blocks import ROOT, SHELL, Block, Step, steps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cluster.zenlead_process import ZenleadProcess

STEP_TIMEOUT_S = 60.0
LATER_S = 15.0  # what is only looked at may come a moment later
LOOK_AGAIN_S = 0.2
LOOKS = re.compile(r"\s*(kubectl (get|events|describe|wait)|curl) ")

# Commands that end when somebody interrupts them are interrupted. What only a kubelet or a metrics server
# can answer is asked all the same: the API server has then understood the command and found the object.
KUBECTL = r"""#!/bin/bash
for word; do
  case "$word" in -w|--watch) timeout 1 REAL "$@"; [ $? = 124 ]; exit;; esac
done
case "$1" in
  logs|exec|port-forward|top)
    if answer=$(timeout 20 REAL "$@" 2>&1); then printf '%s\n' "$answer"; exit; fi
    case "$answer" in
      *"no preferred addresses found"*|*"Metrics API not available"*) ;;
      *) printf '%s\n' "$answer" >&2; exit 1;;
    esac
    if [ "$1" = logs ] && [ -e "$ZENLEAD_LOG" ]; then cat "$ZENLEAD_LOG"; fi;;
  *) exec REAL "$@";;
esac
"""
# A controller runs until it has nothing more to say, and is then stopped as Ctrl-C would.
ZENLEAD = r"""#!/bin/bash
case "$1" in config|demo|cleanup|-h|--help|--version) exec PYTHON -m zenlead "$@";; esac
export ZEN_LEAD_METRICS_BIND_ADDRESS=0 ZEN_LEAD_HEALTH_PROBE_BIND_ADDRESS=0
export ZEN_LEAD_WATCH_NAMESPACES=$ZENLEAD_SCOPE
out=$(mktemp)
PYTHON -m zenlead "$@" >"$out" 2>&1 & pid=$!
size=0 still=0
for _ in $(seq 200); do
  sleep 0.1
  kill -0 $pid 2>/dev/null || break
  now=$(wc -c <"$out")
  if [ "$now" = "$size" ] && [ "$now" != 0 ]; then still=$((still + 1)); else still=0; fi
  [ $still -ge 12 ] && break
  size=$now
done
kill -INT $pid 2>/dev/null
wait $pid; status=$?
cat "$out"; rm "$out"
exit $status
"""
MAKE = '#!/bin/bash\nREAL -n "$@" >/dev/null\n'
GREP = '#!/bin/bash\nREAL "$@"; [ $? -le 1 ]\n'  # that nothing is found is an answer too
PIP = """#!/bin/bash
case "$*" in "install ."|"install .[otel]"|"install --user .") [ -e pyproject.toml ];; *) exit 2;; esac
"""
PYTHON = '#!/bin/bash\nexec PYTHON "$@"\n'
HELM = '#!/bin/bash\nexec REAL "$@"\n'
CURL = r"""#!/bin/bash
args=()
for word; do
  word=${word/localhost:8080/$ZENLEAD_METRICS}
  args+=("${word/localhost:8081/$ZENLEAD_HEALTH}")
done
exec REAL "${args[@]}"
"""


class Shell:
    """Runs the shell blocks of one page. ``names``: what stands in the pages, and what it is here.
    ``process``: the zenlead that the pages talk of."""

    def __init__(
        self, folder: Path, kubeconfig: Path, names: Mapping[str, str], process: ZenleadProcess
    ) -> None:
        self._names = dict(names)
        shims = folder / "bin"
        shims.mkdir()
        home = folder / "home"
        (home / ".kube").mkdir(parents=True)
        shutil.copy(kubeconfig, home / ".kube" / "config")
        foreign = ("ZEN_LEAD_", "OTEL_", "POD_N", "WATCH_NAMESPACE", "LOG_LEVEL")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env = {
            **kept,
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig),
            "PATH": f"{shims}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "KUBECACHEDIR": str(folder.parent / "kubectl"),  # for all tests of a run
            "ZENLEAD_SCOPE": names["team-a"],
            "ZENLEAD_LOG": str(process.log),
            "ZENLEAD_METRICS": process.metrics_url.removeprefix("http://").removesuffix("/metrics"),
            "ZENLEAD_HEALTH": process.health_url.removeprefix("http://"),
            "NO_COLOR": "1",
        }
        scripts = {"kubectl": KUBECTL, "zenlead": ZENLEAD, "make": MAKE, "grep": GREP}
        scripts |= {"pip": PIP, "python": PYTHON, "curl": CURL, "helm": HELM}
        for name, script in scripts.items():
            real = str(build.binary(name)) if name in build.PROGRAMS else shutil.which(name) or name
            (shims / name).write_text(script.replace("REAL", real).replace("PYTHON", sys.executable))
            (shims / name).chmod(0o755)

    def here(self, text: str) -> str:
        """The text with the names of this test for those of the page."""
        for name, value in self._names.items():
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w])", value, text)
        return text

    async def run(self, block: Block) -> None:
        """Runs a block, its ``before`` commands first; AssertionError when a command fails or prints
        something else."""
        assert block.language in SHELL
        for command in block.marked("before"):
            await self._run(block, Step(command, None))
        for step in steps(block):
            await self._run(block, step)

    async def _run(self, block: Block, step: Step) -> None:
        command = self.here(step.command)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LATER_S
        while True:
            status, printed = await self.bash(command)
            expected = self.here(step.prints or "")
            missing = missing_lines(expected, printed, any_number="any" in block.marked("numbers"))
            if status == 0 and not missing:
                return
            if not LOOKS.match(command) or loop.time() > deadline or (status and step.prints is None):
                raise AssertionError(
                    f"{block}: {command.strip()}\nexit code {status}, printed:\n{printed}\n"
                    + (f"lines that are missing, in this order: {missing}" if missing else "")
                )
            await asyncio.sleep(LOOK_AGAIN_S)

    async def bash(self, command: str, stdin: str | None = None) -> tuple[int, str]:
        """Exit code and all output of a script."""
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command,
            cwd=ROOT,
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            data = None if stdin is None else stdin.encode()
            out, _ = await asyncio.wait_for(process.communicate(data), STEP_TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, out.decode(errors="replace")


def missing_lines(expected: str, printed: str, *, any_number: bool = False) -> list[str]:
    """The expected lines that do not come, in order. Ages, addresses and widths of columns may differ (and
    numbers, with ``any_number``), and ``...`` stands for any lines."""
    lines = iter([_alike(line, any_number) for line in printed.splitlines()])
    wanted = [line for line in expected.splitlines() if line.strip() and line.strip() != "..."]
    return [line for line in wanted if not any(_alike(line, any_number) == found for found in lines)]


def _alike(line: str, any_number: bool) -> str:
    return " ".join(_word(word, any_number) for word in line.split())


def _word(word: str, any_number: bool) -> str:
    if any_number and word.isdecimal():
        return "NUMBER"
    if re.fullmatch(r"([0-9]+[dhms])+|<invalid>", word):
        return "AGE"
    if re.fullmatch(r"([0-9]+\.){3}[0-9]+|[0-9a-f]*:[0-9a-f:]+", word):
        return "ADDRESS"
    return re.sub(r":3[0-9]{4}/", ":NODEPORT/", word)
