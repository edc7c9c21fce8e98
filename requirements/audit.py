"""Looks the locked dependencies up among the known vulnerabilities, and says how much that was worth.

Knows pip-audit and its JSON. Refuses to be a gate: where no advisory service can be reached, or one answers
that knows of no advisories (a mirror of the package index, say), pip-audit finds nothing wrong with anything.
The rule: a release that is known to be vulnerable is looked up first; if it is clean, nothing was audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCKED = ("run.txt", "test.txt", "lint.txt")
KNOWN = "urllib3==1.24.1"  # CVE-2019-11324 and others; listed by every advisory database since 2019
TIMEOUT_S = 300


def audit(requirements: Path, arguments: list[str]) -> list[dict[str, Any]] | str:
    """What pip-audit says of each dependency, or why it says nothing."""
    options = ["--disable-pip", "--no-deps", "--format=json", "--progress-spinner=off", "--timeout=10"]
    command = [sys.executable, "-m", "pip_audit", *options, f"--requirement={requirements}", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    except (ValueError, KeyError):
        return done.stderr.strip().rpartition("\n")[2] or "pip-audit gave no reason"
    return found


def knows_advisories(arguments: list[str]) -> str:
    """Empty when the service lists what it must; else what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "known.txt")
        canary.write_text(f"{KNOWN}\n")
        said = audit(canary, arguments)
    if isinstance(said, str):
        return said
    return "" if any(entry.get("vulns") for entry in said) else f"it lists nothing against {KNOWN}"


def main(arguments: list[str]) -> int:
    if problem := knows_advisories(arguments):
        print(f"NOTHING WAS AUDITED: no advisory service that is of use can be reached ({problem}).")
        return 0
    vulnerable: dict[str, list[str]] = {}
    audited, skipped = set[str](), set[str]()
    for name in LOCKED:
        said = audit(HERE / name, arguments)
        if isinstance(said, str):
            print(f"{name} WAS NOT AUDITED: {said}")
            continue
        for entry in said:
            title = f"{entry['name']} {entry.get('version', '')}".strip()
            (skipped if "skip_reason" in entry else audited).add(title)
            if ids := [vuln["id"] for vuln in entry.get("vulns", ())]:
                vulnerable[title] = ids
    print(f"{len(audited)} dependencies audited, {len(vulnerable)} of them vulnerable.")
    for title, ids in vulnerable.items():
        print(f"  {title}: {', '.join(ids)}")
    if skipped:
        print(f"NOT AUDITED: {', '.join(sorted(skipped))}")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
