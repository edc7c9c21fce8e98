"""Everything rendered is taken by a real API server, and the plain manifests are the chart's."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.helm import CHART, CI, ROOT, container, of_kind
from zenlead import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from tests.cluster.controlplane import ControlPlane
    from tests.deploy.helm import Helm

    Object = dict[str, Any]

MANIFESTS = ROOT / "deploy" / "manifests"
NAMESPACES = ("zen-lead", "team-a", "team-b")
OVERLAYS = {"cluster-wide": "default", "namespaced": "own-namespace", "high-availability": "ha"}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_generate", ROOT / "deploy" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server(controlplane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The shared control plane, with the Prometheus operator's kinds and all namespaces that are named."""
    from tests.deploy.monitoring import KINDS, definition

    folder = tmp_path_factory.mktemp("dry-run")
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    objects: list[Object] = [definition(kind) for kind in KINDS]
    objects += [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
        for name in (*NAMESPACES, "lead-system")
    ]
    made = Server(controlplane, folder)
    file = made.written(objects, "there.yaml")
    controlplane.kubectl("apply", "-f", str(file))
    controlplane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    yield made
    controlplane.kubectl("delete", "--wait=false", "-f", str(file))


class Server:
    """Asks the API server what it would say to objects, without making them."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self._folder = folder

    def __repr__(self) -> str:
        return f"Server({self.plane!r})"

    def written(self, objects: list[Object], name: str) -> Path:
        file = self._folder / name
        file.write_text(yaml.safe_dump_all(objects))
        return file

    def takes(self, file: Path) -> list[str]:
        """What would be made of the file, under strict validation. AssertionError with the refusal."""
        arguments = ("apply", "--dry-run=server", "--validate=strict", "-f", str(file), "--output=name")
        try:
            return self.plane.kubectl(*arguments).split()
        except subprocess.CalledProcessError as refused:
            raise AssertionError(refused.stderr) from None


@pytest.mark.parametrize("path", CI, ids=lambda path: path.name)
def test_the_server_takes_everything_that_is_rendered(
    helm: Helm, server: Server, path: Path, tmp_path: Path
) -> None:
    text = helm.text(values=path)
    objects = [each for each in yaml.safe_load_all(text) if each]
    for each in objects:
        assert None not in each["metadata"].values(), each
    (tmp_path / "rendered.yaml").write_text(text)
    assert len(server.takes(tmp_path / "rendered.yaml")) == len(objects)
    # A Deployment's pods are judged when they are made; as Pods, at once, by the level "restricted".
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": each["metadata"]["name"], "namespace": "team-a"},
        }
        | {"spec": each["spec"]["template"]["spec"] | {"restartPolicy": "Always", "priorityClassName": ""}}
        for each in objects
        if each["kind"] in {"Deployment", "Job"}
    ]
    assert len(server.takes(server.written(pods, "pods.yaml"))) == len(pods) >= 1


SINGLE = (
    "uninstallPolicy=clean,watchNamespaces={team-a,team-b}",
    "uninstallPolicy=clean,rbac.clusterScoped=false,leaderElection.mode=disabled",
    "service.type=NodePort",
    "service.type=LoadBalancer,metrics.enabled=false",
    "pdb.maxUnavailable=50%",
    "pdb.minAvailable=50%",
    "strategy.rollingUpdate.maxSurge=25%",
    "serviceAccount.create=false",
    "rbac.viewRole=true",
    "networkPolicy.enabled=true",
    "networkPolicy.enabled=true,metrics.enabled=false",
    "livenessProbe=null,startupProbe=null",
    "priorityClassName=system-node-critical",
    "topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].maxSkew=2,"
    "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    "resources=null",
    "service.targetPort=8080",
    "serviceMonitor.enabled=true,podMonitor.enabled=true,serviceMonitor.namespace=team-a",
    "controller.qps=0.5",
    "nameOverride=short",
)


def test_the_server_takes_single_values(helm: Helm, server: Server, tmp_path: Path) -> None:
    text = "---\n".join(
        helm.text(f"--set={value}", release=f"r{index}") for index, value in enumerate(SINGLE)
    )
    (tmp_path / "rendered.yaml").write_text(text)
    objects = [each for each in yaml.safe_load_all(text) if each]
    assert len(server.takes(tmp_path / "rendered.yaml")) == len(objects)


def test_the_rules_are_clean_for_promtool(helm: Helm, built: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("monitoring", "everything"):
        rule = of_kind(helm.template(values=CHART / "ci" / f"{name}-values.yaml"), "PrometheusRule")
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
        command = [str(built("promtool")), "check", "rules", str(tmp_path / "rules.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr


# What kube-score asks for and does not get, and why.
NO_SCORE = {
    # A tag is a version and never moves, and Always would tie each start to the registry.
    "container-image-pull-policy",
    # The root is read-only, and there is no volume to write to.
    "container-ephemeral-storage-request-and-limit",
    # topologySpreadConstraints spread the pods, and do not stop the second one where there is one node.
    "deployment-has-host-podantiaffinity",
}
NO_SCORE_ONCE = {"zen-lead-test": "pod-networkpolicy"}  # lives for a second, and asks zenlead alone


def test_the_objects_are_clean_for_kube_score(
    helm: Helm, built: Callable[[str], Path], tmp_path: Path
) -> None:
    """A limit of processor time is not asked for: a throttled controller is a slow failover."""
    on = "--set=networkPolicy.enabled=true,uninstallPolicy=clean"
    (tmp_path / "rendered.yaml").write_text(helm.text(on))
    command = [str(built("kube-score")), "score", str(tmp_path / "rendered.yaml"), "--output-format=json"]
    command += ["--kubernetes-version=v1.37", "--ignore-container-cpu-limit"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    complaints = {
        (check["check"]["id"], judged["object_meta"]["name"])
        for judged in json.loads(done.stdout)
        for check in judged["checks"]
        if not check["skipped"] and check["grade"] < 10
    }
    assert {check for check, _ in complaints} >= NO_SCORE, "an exception that nothing needs"
    rest = {(name, check) for check, name in complaints if check not in NO_SCORE}
    assert rest == set(NO_SCORE_ONCE.items())


def test_what_is_generated_is_as_generated(generate: Any, built: Callable[[str], Path]) -> None:
    assert (CHART / "README.md").read_text() == generate.readme(), "run: python deploy/generate.py"
    for path, text in generate.manifests(built("helm")).items():
        assert (MANIFESTS / path).read_text() == text, f"{path}: run: python deploy/generate.py"


def test_the_table_has_every_value(generate: Any) -> None:
    text = (CHART / "values.yaml").read_text()
    told = {path for path, _ in generate.rows(text)}

    def untold(value: Any, path: str) -> Iterator[str]:
        if path in told:
            return
        if not isinstance(value, dict) or not value:
            yield path
            return
        for key, inner in value.items():
            yield from untold(inner, f"{path}.{key}".lstrip("."))

    assert list(untold(yaml.safe_load(text), "")) == []


def by_name(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    found = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
    assert len(found) == len(objects)
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_what_the_chart_renders(
    generate: Any, helm: Helm, overlay: str, server: Server, tmp_path: Path
) -> None:
    text = server.plane.kubectl("kustomize", str(MANIFESTS / "overlays" / overlay))
    rendered = helm.template(generate.LEASE, values=CHART / "ci" / f"{OVERLAYS[overlay]}-values.yaml")
    assert by_name(list(yaml.safe_load_all(text))) == by_name(
        [each for o in rendered if (each := generate.plain(o))]
    )
    (tmp_path / "rendered.yaml").write_text(text)
    server.takes(tmp_path / "rendered.yaml")


def test_an_overlay_can_be_moved_and_given_an_image(server: Server, tmp_path: Path) -> None:
    """As the page beside the manifests shows it."""
    page = (MANIFESTS / "README.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    there = os.path.relpath(MANIFESTS / "overlays", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(shown.replace("../zenlead/deploy/manifests/overlays", there))
    text = server.plane.kubectl("kustomize", str(tmp_path))
    objects = list(yaml.safe_load_all(text))
    assert {o["metadata"]["namespace"] for o in objects} == {"team-a"}
    assert {s["namespace"] for o in objects for s in o.get("subjects", [])} == {"team-a"}
    assert container(objects)["image"] == f"registry.example.com/zenlead:{__version__}"
    assert f"zenlead:{__version__}" in page
    (tmp_path / "rendered.yaml").write_text(text)
    server.takes(tmp_path / "rendered.yaml")


@pytest.mark.parametrize("name", ["install.yaml", "install-namespaced.yaml"])
def test_the_server_takes_the_one_file(server: Server, name: str) -> None:
    taken = server.takes(MANIFESTS / name)
    assert taken[0] == "namespace/zen-lead"
    assert "deployment.apps/zen-lead" in taken
    assert [line for line in taken if "clusterrole" in line] == (
        []
        if "namespaced" in name
        else [f"{k}.rbac.authorization.k8s.io/zen-lead" for k in ("clusterrole", "clusterrolebinding")]
    )
