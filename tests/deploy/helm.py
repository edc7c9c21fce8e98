"""The real Helm, with a home of its own.

Knows Helm's command line. Refuses to know the chart's values. The rule not to break: nothing of the user's
(kubeconfig, plugins, repositories) is read or written.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    Object = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "chart"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
TIMEOUT_S = 90.0


class HelmError(Exception):
    """Helm refused; the text is what it said."""


class Helm:
    """Runs Helm. ``kubeconfig`` leads to the cluster that releases go to; without it there is none."""

    def __init__(self, program: Path, home: Path, kubeconfig: Path | None = None) -> None:
        self._program = program
        self._home = home
        folders = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))}
        self._env = kept | folders | {"KUBECONFIG": str(kubeconfig or home / "none")}

    def __repr__(self) -> str:
        return f"Helm({self._env['KUBECONFIG']})"

    def run(self, *arguments: str) -> str:
        """What it prints; HelmError when it ends with anything but 0."""
        done = subprocess.run(
            [str(self._program), *arguments],
            env=self._env,
            cwd=self._home,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def text(
        self,
        *arguments: str,
        values: Mapping[str, Any] | Path | None = None,
        release: str = "zen-lead",
        namespace: str = "zen-lead",
    ) -> str:
        """The chart as it is rendered, as text. HelmError where the values are refused."""
        if values is not None and not isinstance(values, Path):
            path = self._home / "values.yaml"
            path.write_text(yaml.safe_dump(dict(values)))
            values = path
        given = [f"--values={values}"] if values is not None else []
        return self.run("template", release, str(CHART), f"--namespace={namespace}", *given, *arguments)

    def template(self, *arguments: str, **more: Any) -> list[Object]:
        """The chart's objects, rendered as by ``text``."""
        return [each for each in yaml.safe_load_all(self.text(*arguments, **more)) if each]


def of_kind(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of a kind (and name)."""
    (found,) = [o for o in objects if o["kind"] == kind and name in {None, o["metadata"]["name"]}]
    return found


def container(objects: list[Object]) -> Object:
    """The container of the Deployment."""
    found: Object = of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found
