"""The run that later ones are compared with, kept in the repository: ``python -m benchmarks.baseline FILE``.

Knows where it lies and what of a run is kept: the machine, the arguments and the figures, not every sample.
Refuses to compare.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

STORED = Path(__file__).resolve().parent / "baseline.json"
LEFT_OUT = frozenset({"samples", "rounds"})


def baseline(given: Path | None, services: int) -> dict[str, Any] | None:
    """The run of the file ``given``; without one the stored run, if it is of that many Services."""
    if given is not None:
        return read(given)
    stored = read(STORED) if STORED.exists() else None
    return stored if stored is not None and stored["arguments"]["services"] == services else None


def read(path: Path) -> dict[str, Any]:
    """A run as it was written. Raises OSError, and ValueError for what is no run."""
    run: Any = msgspec.json.decode(path.read_bytes())
    if not isinstance(run, dict) or not {"arguments", "machine", "scenarios"} <= run.keys():
        raise ValueError(f"{path} is not the JSON of a run of python -m benchmarks")
    return run


def kept(run: dict[str, Any]) -> dict[str, Any]:
    """The run without its single rounds and samples."""
    return {key: run[key] for key in run if key != "rounds"} | {"scenarios": _figures(run["scenarios"])}


def _figures(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _figures(value) for key, value in found.items() if key not in LEFT_OUT}
    return [_figures(value) for value in found] if isinstance(found, list) else found


def main() -> None:
    (name,) = sys.argv[1:]
    STORED.write_bytes(msgspec.json.format(msgspec.json.encode(kept(read(Path(name)))), indent=1) + b"\n")


if __name__ == "__main__":
    main()
