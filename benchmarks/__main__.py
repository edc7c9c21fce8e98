"""The command: the scenarios asked for, as many rounds as asked for, and a report."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import plots, report
from benchmarks.baseline import baseline
from benchmarks.scenarios import SCENARIOS, play, say
from benchmarks.stats import middle

RESULTS = Path(__file__).resolve().parent / "results"
USUAL = ",".join(scenario.name for scenario in SCENARIOS if scenario.usual)


def command_line() -> argparse.ArgumentParser:
    table = "\n".join(f"  {s.name:<10} {s.what}{'' if s.usual else ' (on request)'}" for s in SCENARIOS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure zenlead beside the native EndpointSlice controller and a bare watch-and-patch\n"
        "loop, on a real API server. Some four minutes with the defaults.",
        epilog=f"scenarios:\n{table}",
    )
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    parser.add_argument(
        "--scenarios", default=USUAL, metavar="LIST", help="which, with commas; or: all, usual (usual)"
    )
    parser.add_argument("--rounds", default=1, help="of everything; the medians are reported (1)", **number)
    parser.add_argument("--services", default=200, help="Services of each side (200)", **number)
    parser.add_argument("--pods-each", default=3, help="pods of each Service (3)", **number)
    parser.add_argument("--samples", default=100, help="single failovers a side (100)", **number)
    parser.add_argument("--storms", default=3, help="storms a side (3)", **number)
    parser.add_argument("--path-samples", default=30, help="failovers a kind on the data path (30)", **number)
    parser.add_argument(
        "--fleets",
        default="1000x10,10000x10",
        metavar="LIST",
        help="clusters of scale, SERVICESxPODS_EACH or SERVICESxPODS_EACHxNAMESPACES (1000x10,10000x10)",
    )
    parser.add_argument("--seed", default=1, help="of the order of samples (1)", **number)
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="JSON of an earlier run to compare with, as ratios (the stored one, if of as many Services)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help="JSON file (benchmarks/results/TIME.json)"
    )
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = command_line()
    parsed = parser.parse_args(arguments)
    named = {"all": ",".join(s.name for s in SCENARIOS), "usual": USUAL}
    parsed.scenarios = named.get(parsed.scenarios, parsed.scenarios)
    unknown = set(parsed.scenarios.split(",")) - {scenario.name for scenario in SCENARIOS}
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if parsed.services < 2 or parsed.pods_each < 3:
        parser.error("at least 2 services and 3 pods each")
    if min(parsed.samples, parsed.storms, parsed.rounds, parsed.path_samples) < 1:
        parser.error("at least 1 sample, storm and round")
    return parsed


def main() -> int:
    told = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        before = baseline(told.baseline, told.services)
    except (OSError, ValueError) as error:
        print(f"--baseline: {error}", file=sys.stderr)
        return 2
    arguments = {k: v for k, v in vars(told).items() if k not in ("output", "baseline")}
    results: dict[str, Any] = {
        "machine": report.machine(),
        "arguments": arguments,
        "kubernetes": "",
        "rounds": [],
        "scenarios": {},
    }
    try:
        for number in range(told.rounds):
            if told.rounds > 1:
                say(f"round {number + 1} of {told.rounds}")
            found: dict[str, Any] = {}
            results["rounds"].append(found)
            asyncio.run(play(told, set(told.scenarios.split(",")), found))
    finally:  # what was measured before something failed is worth keeping
        save(results, told, before)
    return 0


def save(results: dict[str, Any], told: argparse.Namespace, before: dict[str, Any] | None) -> None:
    """Writes the JSON, the pictures and the report beside it, and prints the report."""
    results["machine"]["load_after"] = os.getloadavg()[0]
    results["scenarios"] = middle(results["rounds"])
    results["kubernetes"] = results["scenarios"].pop("kubernetes", "none")
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    path = told.output or RESULTS / f"{stamp}-{told.services}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    pictures = plots.draw(results["scenarios"], path.with_suffix(""))
    text = report.markdown(results, baseline=before, pictures=pictures)
    path.with_suffix(".md").write_text(text)
    print(f"\n{text}\n{path}")


if __name__ == "__main__":
    sys.exit(main())
