"""Writes what follows from the chart: its README's table and the plain manifests; a test holds them to it.

Knows the comments of values.yaml and what of a release is Helm's own. Refuses to know any value or object by
name. The rule not to break: nothing that the chart says is said by hand elsewhere.

Run it after each change of deploy/chart: ``python deploy/generate.py``. It needs the Helm of the tests
(``make build-controlplane``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Object = dict[str, Any]

DEPLOY = Path(__file__).resolve().parent
CHART = DEPLOY / "chart"
MANIFESTS = DEPLOY / "manifests"
NAME = NAMESPACE = "zen-lead"  # of the release that the manifests are made from
MARK = "# -- "
BEGIN, END = "<!-- values:begin -->\n", "<!-- values:end -->\n"
# Without a release there is no name to make one of; the Go zen-lead has the same by default.
LEASE = "--set=leaderElectionID=zen-lead-controller-leader-election"
HELMS_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")
HEADER = "# Made by deploy/generate.py from deploy/chart; change that.\n"


def rows(text: str) -> Iterator[tuple[str, str]]:
    """Each commented key of a values file: its path with dots, and its comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith(MARK):
            comment = [bare.removeprefix(MARK)]
        elif bare.startswith("# ") and comment:
            comment.append(bare.removeprefix("# "))
        elif bare and not bare.startswith(("#", "-")):
            depth = (len(line) - len(line.lstrip())) // 2
            path = [*path[:depth], bare.partition(":")[0]]
            if comment:
                yield ".".join(path), " ".join(comment)
            comment = []
        else:
            comment = []


def default_of(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values[key]
    return values


def readme() -> str:
    """The chart's README: its text by hand, its table anew."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    lines = ["| Value | Default | What it is |", "| --- | --- | --- |"]
    for path, comment in rows(text):
        default = json.dumps(default_of(values, path), ensure_ascii=False)
        lines.append(f"| `{path}` | `{default}` | {comment} |")
    before, _, rest = (CHART / "README.md").read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{CHART / 'README.md'} has no place for its table: {BEGIN.strip()} … {END.strip()}")
    table = "\n".join(lines)
    return f"{before}{BEGIN}\n{table}\n\n{END}{after}"


def rendered(helm: Path, *arguments: str) -> list[Object]:
    """The chart's objects as they are without Helm: no hooks, and no labels that say Helm manages them."""
    command = [str(helm), "template", NAME, str(CHART), f"--namespace={NAMESPACE}", LEASE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own words
    objects = [plain(each) for each in yaml.safe_load_all(done.stdout) if each]
    return [each for each in objects if each]


def plain(body: Object) -> Object:
    """The same object without what Helm alone understands; nothing for a hook."""
    annotations = body["metadata"].get("annotations", {})
    if "helm.sh/hook" in annotations:
        return {}
    annotations.pop("helm.sh/resource-policy", None)
    if not annotations:
        body["metadata"].pop("annotations", None)
    templates = [body, body["spec"]["template"]] if body["kind"] == "Deployment" else [body]
    for each in templates:
        for label in HELMS_LABELS:
            each["metadata"]["labels"].pop(label, None)
    return body


def manifests(helm: Path) -> dict[str, str]:
    """Every generated file of deploy/manifests, by its path there."""
    own = f"--values={CHART / 'ci' / 'own-namespace-values.yaml'}"
    wide, one = rendered(helm), rendered(helm, own)
    shared = [each for each in wide if each in one or each["kind"] == "Deployment"]
    made = "--set=namespace.create=true"
    return {
        "base/zenlead.yaml": dumped(shared),
        "overlays/cluster-wide/rbac.yaml": dumped(each for each in wide if each not in shared),
        "overlays/namespaced/rbac.yaml": dumped(
            each for each in one if each not in shared and each["kind"] != "Deployment"
        ),
        "install.yaml": dumped(rendered(helm, made)),
        "install-namespaced.yaml": dumped(rendered(helm, made, own)),
    }


def dumped(objects: Iterable[Object]) -> str:
    return HEADER + yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, width=110)


def main() -> None:
    sys.path.insert(0, str(DEPLOY.parent))
    from tests.cluster import build  # noqa: PLC0415 - the repository is no package

    (CHART / "README.md").write_text(readme())
    for path, text in manifests(build.binary("helm")).items():
        (MANIFESTS / path).parent.mkdir(parents=True, exist_ok=True)
        (MANIFESTS / path).write_text(text)
        print(f"deploy/manifests/{path}", file=sys.stderr)


if __name__ == "__main__":
    main()
