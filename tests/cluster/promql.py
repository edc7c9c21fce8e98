"""Questions to Prometheus, those of the dashboard and of the rules, and promtool as the engine that answers.

Knows where the questions stand and how promtool is asked. Refuses to know what the answers should be. The
rule not to break: numbers come from real scrapes; what is made up is said to be.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import yaml

from tests.cluster.build import binary
from tests.cluster.zenlead_process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "zenlead.json"
JOB = "zen-lead"
PROMTOOL_TIMEOUT_S = 60.0

_GOT = re.compile(r'expr: (".*"), time: (\S+),\n\s+exp: nil\n\s+got: (.*)\n')
_SAMPLE = re.compile(r'\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\} (\S+?)(?:, (?=\{)|$)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_COMPARISON = re.compile(r"\s(?:>=|<=|==|!=|>|<)\s*\d+(?:\.\d+)?")
_SET_OPERATOR = re.compile(r"(?:and|or|unless)\b(?: on \([^)]*\))?")


class Question(NamedTuple):
    """One query of a panel or one alert. ``legend`` names labels in ``{{ }}``."""

    title: str
    expr: str
    legend: str = ""
    instant: bool = False


class Sample(NamedTuple):
    """A series at one moment."""

    labels: Mapping[str, str]
    value: float


Answers = dict[tuple[str, float], list[Sample]]
"""By expression and time in seconds. No entry: no data."""


def of_dashboard(*, rate_interval: str, within: str) -> list[Question]:
    """Every query of the dashboard, with all variables at "All"."""
    board = json.loads(DASHBOARD.read_text())
    everything = {v["name"]: v["allValue"] for v in board["templating"]["list"] if v["type"] == "query"}
    known = {"$__rate_interval": rate_interval, "$__range": within}
    known |= {f"${name}": value for name, value in everything.items()}

    def filled(expr: str) -> str:
        for name, value in known.items():
            expr = expr.replace(name, value)
        if "$" in expr:
            raise ValueError(f"a variable that nobody knows: {expr}")
        return expr

    found = [
        Question(panel["title"], filled(target["expr"]), target["legendFormat"], target["instant"])
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]
    marks = [
        Question(f"mark of {mark['name']}", filled(mark["expr"])) for mark in board["annotations"]["list"]
    ]
    return found + marks


def of_rules() -> list[Question]:
    """Every alert, and what is recorded."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = (rule for group in groups for rule in group["rules"])
    return [Question(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules]


def parts(expr: str) -> list[str]:
    """What an alert looks at, without its thresholds: each operand of ``and``, ``or`` and ``unless``."""
    expr = " ".join(_COMPARISON.sub("", f" {expr}").split())
    expr = re.sub(r"^absent\((.*)\)$", r"\1", expr)
    if _closes(expr, 0) == len(expr) - 1:
        return parts(expr[1:-1])
    depth, begin, found = 0, 0, []
    for at, letter in enumerate(expr):
        depth += (letter in "({[") - (letter in ")}]")
        operator = _SET_OPERATOR.match(expr, at) if depth == 0 and expr[at - 1 : at] == " " else None
        if operator:
            found.append(expr[begin:at].strip())
            begin = operator.end()
    if not found:
        return [expr]
    return [part for operand in (*found, expr[begin:].strip()) for part in parts(operand)]


def _closes(expr: str, at: int) -> int:
    """Where the bracket that opens at ``at`` closes; -1 without one."""
    depth = 0
    for index in range(at, len(expr)):
        depth += (expr[index] == "(") - (expr[index] == ")")
        if depth == 0:
            return index if index > at else -1
    return -1


class Scrapes:
    """What was scraped, one step after the other, as Prometheus would have stored it."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.steps = 0
        self._series: dict[str, dict[int, str]] = {}

    def __repr__(self) -> str:
        return f"Scrapes(steps={self.steps} series={len(self._series)})"

    def take(self, texts: Mapping[str, str | None]) -> None:
        """The next step: the text of each instance, None for one that did not answer."""
        for instance, text in texts.items():
            self.add(f'up{{job="{JOB}",instance="{instance}"}}', "0" if text is None else "1")
            for line in (text or "").splitlines():
                if line and not line.startswith("#"):
                    series, _, value = line.rpartition(" ")
                    name, _, labels = series.partition("{")
                    labels = f",{labels}" if labels else "}"
                    self.add(f'{name}{{job="{JOB}",instance="{instance}"{labels}', value)
        self.steps += 1

    def add(self, series: str, value: str, step: int | None = None) -> None:
        """One number, of the step that is being taken unless said otherwise."""
        self._series.setdefault(series, {})[self.steps if step is None else step] = value

    def last(self, series: str) -> float | None:
        """The latest value of a series that was there in the last step."""
        found = self._series.get(series, {}).get(self.steps - 1)
        return None if found is None else float(found)

    def total(self, name: str, **labels: str) -> float:
        """The sum of the latest values of all series of a name that have these labels."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(
            self.last(series) or 0.0
            for series in self._series
            if series.startswith(f"{name}{{") and all(label in series for label in wanted)
        )

    def times(self) -> list[float]:
        """When each step was, in seconds from the first."""
        return [number * self.step_s for number in range(self.steps)]

    def input(self) -> list[Mapping[str, str]]:
        """As promtool wants it. What is gone is stale, as after a scrape without it."""
        return [{"series": name, "values": " ".join(self._values(of))} for name, of in self._series.items()]

    def _values(self, of: Mapping[int, str]) -> Iterator[str]:
        for step in range(self.steps):
            yield of.get(step) or ("stale" if step - 1 in of else "_")


def ask(scrapes: Scrapes, exprs: Sequence[str], folder: Path) -> Answers:
    """Every expression at every step, answered by Prometheus' own engine, with the rules at work."""
    interval = f"{scrapes.step_s:g}s"
    cases = [
        {"expr": expr, "eval_time": f"{time:g}s", "exp_samples": []}
        for expr in dict.fromkeys(exprs)
        for time in scrapes.times()
    ]
    file = folder / "questions.yaml"
    test = {"interval": interval, "input_series": scrapes.input(), "promql_expr_test": cases}
    file.write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": interval, "tests": [test]})
    )
    # It fails, for data was found where none was expected, and says which: that is how it is asked.
    said = promtool("test", "rules", str(file))
    if "exp: nil" not in said:
        raise AssertionError(f"promtool does not answer: {said[:2000]}")
    answers: Answers = {}
    for expr, time, got in _GOT.findall(said + "\n"):
        answers[json.loads(expr), _seconds(time)] = _samples(got)
    return answers


def promtool(*arguments: str, given: str = "") -> str:
    """Everything that promtool says."""
    done = subprocess.run(
        [str(binary("promtool")), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROMTOOL_TIMEOUT_S,
    )
    return done.stdout + done.stderr


def _samples(got: str) -> list[Sample]:
    return [Sample(dict(_LABEL.findall(labels)), float(value)) for labels, value in _SAMPLE.findall(got)]


def _seconds(duration: str) -> float:
    """``1m30s`` as seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))
