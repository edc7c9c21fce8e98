"""What the reports of the benchmarks are made of: medians, bars, ratios to a stored run, tables."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from benchmarks import bars, plots, report
from benchmarks import baseline as stored
from benchmarks.__main__ import parse
from benchmarks.scenarios import SCENARIOS, STAGES
from benchmarks.sizes import bucket_quantile, buckets, total
from benchmarks.stats import middle, quantile, spread

if TYPE_CHECKING:
    from pathlib import Path

TIMES = spread([1.0, 2.0, 4.0])
SINGLE = {
    "alone_ms": dict.fromkeys(("zenlead", "native", "floor"), TIMES),
    "race_ms": {"zenlead": {**TIMES, "p50": 11.0}, "native": {**TIMES, "p50": 10.0}},
    "race_zenlead_first": 0.4,
    "samples": {
        "zenlead": [{"zenlead": 1.0}],
        "race": [{"zenlead": 1.0, "native": 2.0}],
    },
}
SCALED = {
    "services": 10_000,
    "pods": 100_000,
    "ready_s": 5.0,
    "cpu_settled_s": 4.0,
    "rss_mb": 190.0,
    "peak_mb": 195.0,
    "writes": 0,
    "failover_cpu_ms": 1.2,
    "failover_ms": TIMES,
    "loop": {"longest_ms": 12.0, "longest_at_work_ms": 9.0},
}
FOUND: dict[str, Any] = {
    "single": SINGLE,
    "scale": [{**SCALED, "services": 1_000, "pods": 10_000, "failover_cpu_ms": 1.0}, SCALED],
    "memory": [
        {"when": "after first creation", "services": 1000, "pods": 3000, "rss_mb": 90.0, "peak_mb": 91.0},
        {"when": "after a restart", "services": 1000, "pods": 3000, "rss_mb": 59.0, "peak_mb": 60.0},
    ],
    "noise": {
        "real": {
            "events": 10,
            "per_s": 700.0,
            "cpu_us": 55.0,
            "floor_cpu_us": 44.0,
            "idle_cpu_ms_per_s": 1.0,
        }
    },
    "scrape": {"gzip": {"sent_mb": 0.1, "seconds": 0.2, "stall_ms": 3.0, "stall_cpu_ms": 1.0}},
    "sizes": [
        {
            "title": "below 100 Services",
            "services": 50,
            "pods": 150,
            "reconcile_p95_ms": 20.0,
            "hit_rate": 0.99,
            "rss_mb": 48.0,
            "peak_mb": 49.0,
        }
    ],
    "dataplane": {
        "samples": 3,
        "by": {
            "zenlead/headless": {"client_ms": TIMES, "soon": 1.0, "slice_ms": TIMES, "samples": [1.0, 2.0]},
            "zenlead/ClusterIP": {"client_ms": TIMES, "soon": 0.3, "slice_ms": TIMES, "samples": [1.0, 2.0]},
        },
    },
    "left_out": {"storm": "nobody wanted it"},
}


def results(scenarios: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": {**report.machine(), "load_after": 1.0},
        "arguments": {"services": 1000, "pods_each": 3, "seed": 7, "rounds": 3},
        "kubernetes": "v1.37.2",
        "scenarios": scenarios,
    }


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([4.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0], 0.99) == 1.0
    assert spread([1.0, 3.0])["p99"] == 3.0


def test_the_middle_of_rounds_is_taken_number_by_number() -> None:
    rounds = [
        {"a": {"p50": value}, "list": [{"b": value}, {"b": 1}], "name": "x", "samples": [value], "only": 1}
        for value in (3, 1, 2)
    ]
    rounds[1].pop("only")
    assert middle(rounds) == {
        "a": {"p50": 2},
        "list": [{"b": 2}, {"b": 1}],
        "name": "x",
        "samples": [3],
        "only": 1,
    }
    assert middle([{"ok": True}, {"ok": True}]) == {"ok": True}


def test_figures_are_judged_by_their_bars_and_those_not_measured_are_left_out() -> None:
    by_name = {row[0]: row[1:] for row in bars.rows(FOUND)}
    assert by_name["one failover, race, p50: zenlead / native"] == ["1.10", "<= 1.02", "MISSED"]
    assert by_name["failovers in which zenlead's slice was first"] == ["40%", ">= 45%", "MISSED"]
    assert by_name["RSS, 1000 Services, 3000 pods"] == ["59 MB", "<= 60 MB", "met"]
    assert by_name["cost of a failover there / with 1000 Services, 10,000 pods"][0] == "1.20"
    assert by_name["the same: zenlead / floor"] == ["1.25", "", ""]
    assert by_name["below 100 Services: cache hit rate"] == ["99%", ">= 90%", "met"]
    assert not any("storm" in name or "restart" in name for name in by_name)


def test_every_bar_of_the_acceptance_is_there_once() -> None:
    names = [figure.name for figure in bars.FIGURES if figure.bar is not None]
    assert len(names) == len(set(names)) == 25


def test_a_baseline_gives_ratios() -> None:
    before = {**FOUND, "noise": {"real": {**FOUND["noise"]["real"], "cpu_us": 110.0}}}
    del before["scrape"]
    by_name = {row[0]: row[4:] for row in bars.rows(FOUND, before)}
    assert by_name["a pod update that changes nothing, CPU"] == ["110 us", "0.50"]
    assert by_name["longest stall by a scrape of 1000 Services"] == ["-", "-"]
    assert by_name["the same: writes"] == ["0", "1.00"]
    assert bars.ratio(1.0, 0.0) == "-"


def test_the_stored_run_is_compared_with_where_it_is_of_the_same_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = results(FOUND | {"storm": {"rounds": [1], "median": {"samples": [2], "last_s": 3}}})
    run["rounds"] = [FOUND]
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))
    monkeypatch.setattr(stored, "STORED", tmp_path / "baseline.json")
    assert stored.baseline(None, 200) is None
    monkeypatch.setattr(sys, "argv", ["baseline", str(tmp_path / "run.json")])
    stored.main()
    services = run["arguments"]["services"]
    before = stored.baseline(None, services)
    assert before is not None
    assert before["arguments"] == run["arguments"]
    assert before["scenarios"]["storm"] == {"median": {"last_s": 3}}
    assert "rounds" not in before
    assert stored.baseline(None, services + 1) is None
    assert stored.baseline(tmp_path / "run.json", services + 1) == run
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run\.json is not the JSON of a run"):
        stored.baseline(tmp_path / "run.json", services)


def test_the_report_shows_every_scenario_and_says_what_is_missing() -> None:
    text = report.markdown(results(FOUND), baseline=results(FOUND), pictures=[])
    for words in (
        "seed 7",
        "v1.37.2",
        "3 round(s)",
        "MISSED",
        "one failover, ms",
        "| 10000 / 100000 | 5.00 | 4.00 | 12.0 (9.0) | 190 (195) | 0 | 1.20 | 2.0 |",
        "| zenlead | headless | 2 | 4 | 4 | 100% | 2.0 |",
        "| below 100 Services | 50 / 150 | 20 | 99.0% | 48.0 | 49.0 |",
        "costs 55 us",
        "Left out: storm, nobody wanted it.",
        plots.MISSING,
        "now / baseline",
    ):
        assert words in text, words
    rendered = report.markdown(results(FOUND), pictures=[("One failover", "x-single.png")])
    assert "![One failover](x-single.png)" in rendered
    assert "baseline" not in rendered


def test_without_matplotlib_there_are_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert plots.draw(FOUND, tmp_path / "x") == []
    assert list(tmp_path.iterdir()) == []


def test_histograms_are_read_over_all_series() -> None:
    text = "\n".join(
        f'zen_lead_pass_seconds_bucket{{namespace="{ns}",le="{bound}"}} {count}'
        for ns in ("a", "b")
        for bound, count in (("0.1", 2), ("0.5", 5), ("+Inf", 5))
    )
    text += '\nzen_lead_hits_total{namespace="a"} 3.0\nzen_lead_hits_total{namespace="b"} 4.0\n'
    counts = buckets(text, "pass_seconds")
    assert counts == {0.1: 4.0, 0.5: 10.0, float("inf"): 10.0}
    assert bucket_quantile(counts, 0.2) == pytest.approx(0.05)
    assert bucket_quantile(counts, 0.7) == pytest.approx(0.3)
    assert bucket_quantile({0.1: 1.0, float("inf"): 4.0}, 0.9) == 0.1
    assert bucket_quantile({}, 0.95) == 0.0
    assert total(text, "hits_total") == 7.0


def test_scenarios_are_named_once_and_each_has_its_stage() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert {scenario.stage for scenario in SCENARIOS} == STAGES.keys()


def test_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--scenarios=all"]).scenarios.split(",") == [scenario.name for scenario in SCENARIOS]
    assert "scale" not in parse([]).scenarios
    for wrong in (["--scenarios=nonsense"], ["--services=1"], ["--rounds=0"]):
        with pytest.raises(SystemExit):
            parse(wrong)
    assert "no such scenario: nonsense" in capsys.readouterr().err
