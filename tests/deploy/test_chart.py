"""What the chart makes of values: everything that a user may write, and refusals of the rest."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deploy.helm import CHART, CI, ROOT, Helm, HelmError, container, of_kind
from zenlead import __version__
from zenlead.cli import main
from zenlead.settings import KNOB_BY_FLAG, KNOBS

if TYPE_CHECKING:
    from collections.abc import Iterator

    Object = dict[str, Any]

BIG = 16_777_217  # 2^24 + 1, which a careless template prints as 1.6777217e+07
VALUES: Object = yaml.safe_load((CHART / "values.yaml").read_text())
EVERYTHING = CHART / "ci" / "everything-values.yaml"
# Where a container finds these is not the chart's to say.
NO_VALUES = {"kubeconfig", "context", "config"}


def leaves(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Everything in a values file that is no mapping and no list, and where it is."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in children:
        if isinstance(inner, dict | list):
            yield from leaves(inner, *path, key)
        else:
            yield (*path, key), inner


def put(values: Object, path: tuple[str | int, ...], value: Any) -> None:
    at: Any = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value


def flags(objects: list[Object]) -> dict[str, str]:
    """The Deployment's arguments by flag; of two of a name the last, as zenlead takes it."""
    first, *others = container(objects)["args"]
    assert first == "run"
    return dict(argument.removeprefix("--").split("=", 1) for argument in others)


def test_lint_is_content_with_all_files_of_values(helm: Helm) -> None:
    assert [path.name.removesuffix("-values.yaml") for path in CI] == [
        "default",
        "everything",
        "ha",
        "monitoring",
        "namespaced",
        "original",
        "own-namespace",
    ]
    for path in CI:
        said = helm.run("lint", "--strict", f"--values={path}", str(CHART))
        assert "0 chart(s) failed" in said


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == __version__


@pytest.mark.parametrize("path", CI, ids=lambda path: path.name)
def test_zenlead_takes_the_flags_of_every_rendering(
    helm: Helm, path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("POD_NAMESPACE", raising=False)
    _, *args = container(helm.template(values=path))["args"]
    given = [argument.replace("$(POD_NAMESPACE)", "home") for argument in args]  # as the kubelet does
    given = [argument for argument in given if not argument.startswith("--config=")]  # of a pod
    assert main(["config", *given]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.endswith(" flag")]) > 25


def test_each_setting_can_be_given_and_has_the_same_default(helm: Helm) -> None:
    objects = helm.template()
    given = flags(objects)
    assert len(given) == len(container(objects)["args"]) - 1, "each stands there once"
    knobs = {k.flag: k for k in KNOBS if k.flag not in NO_VALUES}
    assert set(given) | {"watch-namespaces"} == set(knobs)
    different = {
        flag
        for flag, text in given.items()
        if knobs[flag].parse(text) != knobs[flag].parse(knobs[flag].default)
    }
    assert different == {"leader-election-id"}, (
        "of the release, so that two in a namespace do not share a Lease"
    )


def test_zero_is_a_value(helm: Helm) -> None:
    zeros = {
        "maxCacheSizePerNamespace": "max-cache-size-per-namespace",
        "qps": "qps",
        "burst": "burst",
        "leaderPodCacheTTLSeconds": "leader-pod-cache-ttl-seconds",
        "reconcileMinIntervalMs": "reconcile-min-interval-ms",
        "retryInitialDelayMs": "retry-initial-delay-ms",
    }
    most = flags(helm.template("--set=controller.maxConcurrentReconciles=0"))["max-concurrent-reconciles"]
    assert KNOB_BY_FLAG["max-concurrent-reconciles"].parse(most) == int(most)
    with pytest.raises(ValueError, match=f"from 1 to {most}"):
        KNOB_BY_FLAG["max-concurrent-reconciles"].parse("0")
    objects = helm.template(
        values={"replicaCount": 0, "controller": dict.fromkeys(zeros, 0), "pdb": {"minAvailable": 0}}
    )
    given = flags(objects)
    assert {flag: given[flag] for flag in zeros.values()} == dict.fromkeys(zeros.values(), "0")
    assert of_kind(objects, "Deployment")["spec"]["replicas"] == 0
    pdb = of_kind(helm.template(values={"pdb": {"minAvailable": 0}}), "PodDisruptionBudget")
    assert pdb["spec"]["minAvailable"] == 0
    assert "maxUnavailable" not in pdb["spec"]


def integers() -> list[tuple[str | int, ...]]:
    found = [path for path, value in leaves(VALUES) if isinstance(value, int) and not isinstance(value, bool)]
    assert len(found) > 35
    return found


@pytest.mark.parametrize("way", ["file", "flag"])
def test_no_integer_turns_into_a_float(helm: Helm, way: str) -> None:
    """Each has a number of its own, so that each is seen to arrive; ranges do not count here."""
    wanted = {path: BIG + index for index, path in enumerate(integers())}
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["networkPolicy"]["enabled"] = True
    sets = []
    for path, number in wanted.items():
        put(values, path, number)
        sets.append("--set=" + ".".join(f"{key}" for key in path).replace(".0=", "[0]=") + f"={number}")
    if way == "file":
        text = helm.text("--skip-schema-validation", values=values)
    else:
        sets = [re.sub(r"\.(\d)=", r"[\1]=", each) for each in sets]
        text = helm.text("--skip-schema-validation", "--set=networkPolicy.enabled=true", *sets)
    missing = {".".join(map(str, path)) for path, number in wanted.items() if str(number) not in text}
    assert missing == set()
    assert re.findall(r"\d[eE]\+\d+", text) == []
    everywhere = helm.text("--skip-schema-validation", values=_all_big(values))
    assert everywhere.count(str(BIG)) >= len(wanted)
    assert re.findall(r"\d[eE]\+\d+", everywhere) == []


def _all_big(values: Object) -> Object:
    for path in integers():
        put(values, path, BIG)
    return values


def test_what_looks_like_a_number_stays_text(helm: Helm) -> None:
    objects = helm.template(values=EVERYTHING)
    assert of_kind(objects, "ServiceAccount", "lead")["metadata"]["annotations"] == {
        "a": "true",
        "b": "8080",
        "c": str(BIG),
        "d": "1e3",
        "e": "0.5",
    }
    deployment, service = of_kind(objects, "Deployment"), of_kind(objects, "Service")
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"] == {"a": "true", "b": "8080"}
    assert service["metadata"]["annotations"] == {"a": "true", "b": "8080"}
    assert template["metadata"]["labels"]["tier"] == "1"
    assert template["spec"]["nodeSelector"] == {"gpu": "false"}
    env = {entry["name"]: entry.get("value") for entry in container(objects)["env"]}
    assert (env["NUMBER"], env["SWITCH"], env["OTEL_SERVICE_NAME"]) == (str(BIG), "true", "lead")
    assert {o["metadata"]["labels"]["team"] for o in objects if "-" not in o["metadata"]["name"][15:]} == {
        "42"
    }
    assert flags(objects)["leader-election-id"] == "1234"
    numbered = helm.template("--set-string=image.tag=1.20", "--set=controller.qps=0.5", release="1234")
    assert container(numbered)["image"] == "zenlead:1.20"
    assert flags(numbered)["qps"] == "0.5"
    assert (
        of_kind(numbered, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"]
        == "1234"
    )


def test_names_that_are_digits_stay_text(helm: Helm) -> None:
    names = (
        "fullnameOverride",
        "nameOverride",
        "namespaceOverride",
        "priorityClassName",
        "serviceAccount.name",
    )
    given = ",".join(f"{name}={index}" for index, name in enumerate(names, 1000))
    switches = "uninstallPolicy=clean,rbac.viewRole=true,networkPolicy.enabled=true,config.qps=1"
    objects = helm.template(f"--set-string={given}", f"--set={switches}", values=EVERYTHING)
    named = [(path, value) for path, value in leaves(objects) if isinstance(path[-1], str)]
    texts = {"name", "namespace", "serviceAccountName", "priorityClassName", "app.kubernetes.io/name"}
    assert [(path, value) for path, value in named if path[-1] in texts and not isinstance(value, str)] == []
    assert {str(number) for number in range(1000, 1005)} <= {
        value for _, value in named if value == str(value)
    }


def test_settings_in_a_file_take_the_place_of_flags(helm: Helm, tmp_path: Any) -> None:
    settings = {"qps": BIG, "logLevel": "debug", "leaderPodCacheTtlSeconds": 0}
    objects = helm.template(values={"config": settings})
    given = flags(objects)
    assert {"qps", "log-level", "leader-pod-cache-ttl-seconds"}.isdisjoint(given)
    assert given["burst"] == "100"
    folder, file = given["config"].rsplit("/", 1)
    (mount,) = container(objects)["volumeMounts"]
    (volume,) = of_kind(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    config = of_kind(objects, "ConfigMap")
    assert (mount["name"], mount["mountPath"]) == (volume["name"], folder)
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    (tmp_path / file).write_text(config["data"][file])
    assert main(["config", f"--config={tmp_path / file}"]) == 0
    assert yaml.safe_load(config["data"][file]) == settings


def test_a_digest_wins_over_a_tag(helm: Helm) -> None:
    image = container(helm.template(values=EVERYTHING))["image"]
    assert re.fullmatch(r"registry\.example\.com/team/zenlead@sha256:[0-9a-f]{64}", image)
    assert container(helm.template())["image"] == f"zenlead:{__version__}"


REFUSED = {
    "controller.bogus=1": "bogus",
    "bogus=1": "bogus",
    "controller.qps=-5": "qps",
    "controller.maxConcurrentReconciles=1001": "maxConcurrentReconciles",
    "controller.maxCacheSizePerNamespace=-1": "maxCacheSizePerNamespace",
    "controller.leaderPodCacheTTLSeconds=soon": "leaderPodCacheTTLSeconds",
    "controller.enableLeaderPodCache=1": "enableLeaderPodCache",
    "controller.logLevel=loud": "logLevel",
    "config.watchNamespaces=team-a": "watchNamespaces",
    "leaderElection.leaseDuration=15": "leaseDuration",
    "leaderElection.mode=zenlead": "mode",
    "replicaCount=-1": "replicaCount",
    "metrics.port=65536": "port",
    "image.digest=latest": "digest",
    "image.pullPolicy=Sometimes": "pullPolicy",
    "watchNamespaces={Team_A}": "watchNamespaces",
    "pdb.maxUnavailable=some": "maxUnavailable",
    "strategy.type=Slow": "strategy",
    "uninstallPolicy=maybe": "uninstallPolicy",
    "leadergroups.enabled=true": "leadergroups",
    "service.type=ExternalName": "service",
    "serviceMonitor.interval=often": "interval",
    "fullnameOverride=Not_A_Name": "fullnameOverride",
}


@pytest.mark.parametrize("value", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(helm: Helm, value: str) -> None:
    with pytest.raises(HelmError, match=REFUSED[value]):
        helm.text(f"--set={value}")


def test_the_schema_is_closed_and_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def open_objects(node: Any, path: str) -> Iterator[str]:
        node = _resolved(schema, node)
        if "properties" in node:
            if node.get("additionalProperties") is not False:
                yield path
            for key, inner in node["properties"].items():
                yield from open_objects(inner, f"{path}.{key}")

    assert list(open_objects(schema, "")) == []
    for path, _ in leaves(VALUES):
        node: Any = schema
        for key in path:
            node = _resolved(schema, node)
            if "properties" not in node:
                break  # as Kubernetes defines it
            assert key in node["properties"], path
            node = node["properties"][key]


def _resolved(schema: Object, node: Object) -> Object:
    name = node.get("$ref", "").removeprefix("#/definitions/")
    found: Object = schema["definitions"][name] if name else node
    return found


def test_namespaces_of_the_watch_and_of_the_roles_are_the_same(helm: Helm) -> None:
    def roles(objects: list[Object]) -> set[tuple[str, str]]:
        return {
            (o["kind"], o["metadata"].get("namespace", ""))
            for o in objects
            if o["kind"].endswith("Role") and o["metadata"]["name"] == "zen-lead"
        }

    everywhere = helm.template()
    assert roles(everywhere) == {("ClusterRole", "")}
    assert "watch-namespaces" not in flags(everywhere)
    listed = helm.template("--set=watchNamespaces={team-a,team-b}")
    assert roles(listed) == {("Role", "team-a"), ("Role", "team-b")}
    assert flags(listed)["watch-namespaces"] == "team-a,team-b"
    own = helm.template("--set=rbac.clusterScoped=false", namespace="home")
    assert roles(own) == {("Role", "home")}
    assert flags(own)["watch-namespaces"] == "$(POD_NAMESPACE)"
    for objects in (listed, own):
        assert not [o for o in objects if o["kind"].startswith("Cluster")]
        assert "nodes" not in yaml.safe_dump(objects)
    with pytest.raises(HelmError, match="leave one of them out"):
        helm.text("--set=rbac.clusterScoped=true", "--set=watchNamespaces={team-a}")
    assert roles(helm.template("--set=rbac.create=false")) == set()


def test_a_right_is_only_asked_for_where_it_is_used(helm: Helm) -> None:
    def verbs(resource: str, *arguments: str) -> list[str]:
        rules = of_kind(helm.template(*arguments), "ClusterRole", "zen-lead")["rules"]
        return [verb for rule in rules if resource in rule["resources"] for verb in rule["verbs"]]

    assert verbs("pods") == ["list", "watch"]
    assert verbs("pods", "--set=controller.enableLeaderPodCache=false") == ["get", "list", "watch"]
    assert verbs("services/status") == ["patch"]
    assert verbs("services/status", "--set=controller.writeConditions=false") == []
    alone = helm.template("--set=leaderElection.mode=disabled", "--set=replicaCount=1")
    assert "leases" not in yaml.safe_dump(alone)
    assert flags(alone)["leader-elect"] == "false"


@pytest.mark.parametrize("block", ["cluster", "namespaced"])
def test_the_roles_are_those_of_the_page_about_rights(helm: Helm, block: str) -> None:
    """The page has them with everything on that asks for rights."""

    def rules(objects: list[Object]) -> dict[tuple[str, str], Any]:
        named = {(o["kind"], o["metadata"]["name"].replace("zen-lead", "zenlead")): o for o in objects}
        return {key: o["rules"] for key, o in named.items() if "rules" in o}

    page = (ROOT / "docs" / "rbac.md").read_text()
    (shown,) = re.findall(rf"<!-- rbac:{block} -->\n```yaml\n(.*?)```", page, re.DOTALL)
    given = ["--set=controller.enableLeaderPodCache=false"]
    given += ["--set=leaderElectionID=zen-lead-controller-leader-election"]
    given += ["--set=watchNamespaces={team-a}"] if block == "namespaced" else []
    assert rules(list(yaml.safe_load_all(shown))) == rules(helm.template(*given))


def test_two_releases_in_a_namespace_do_not_share_a_lease(helm: Helm) -> None:
    names = []
    for release in ("one", "two"):
        objects = helm.template(release=release, namespace="shared")
        name = flags(objects)["leader-election-id"]
        rules = of_kind(objects, "Role", f"{release}-zen-lead-lease")["rules"]
        assert [(rule.get("resourceNames"), rule["verbs"]) for rule in rules] == [
            (None, ["create"]),
            ([name], ["get", "patch"]),
        ]
        names.append(name)
    assert names == [f"{release}-zen-lead-zen-lead-controller-leader-election" for release in ("one", "two")]
    chosen = helm.template("--set=leaderElectionID=mine")
    assert flags(chosen)["leader-election-id"] == "mine"


def test_names_of_objects_are_as_in_the_chart_that_it_replaces(helm: Helm) -> None:
    """What an upgrade cannot change: a Deployment's selector, a binding's role."""
    objects = helm.template(release="lead", namespace="home")
    deployment = of_kind(objects, "Deployment")
    assert deployment["metadata"]["name"] == "lead-zen-lead"
    labels = {"app.kubernetes.io/name": "zen-lead", "app.kubernetes.io/instance": "lead"}
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert of_kind(objects, "ClusterRoleBinding")["roleRef"]["name"] == "lead-zen-lead"
    assert container(objects)["name"] == "controller"
    longest = helm.template("--set=fullnameOverride=" + "a" * 63)
    assert max(len(o["metadata"]["name"]) for o in longest) == 63


def test_other_pods_of_a_release_are_not_taken_for_controllers(helm: Helm) -> None:
    objects = helm.template("--set=uninstallPolicy=clean")
    selector = of_kind(objects, "Deployment")["spec"]["selector"]["matchLabels"].items()
    job = of_kind(objects, "Job")
    for pod in (of_kind(objects, "Pod"), job["spec"]["template"]):
        assert not selector <= pod["metadata"]["labels"].items()
    (after,) = [a for a in job["spec"]["template"]["spec"]["containers"][0]["args"] if "after-pods" in a]
    assert after.removeprefix("--after-pods=").split(",") == [f"{key}={value}" for key, value in selector]


def test_what_depends_on_the_number_of_replicas(helm: Helm) -> None:
    two, one = helm.template(), helm.template("--set=replicaCount=1")
    assert of_kind(two, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    (spread,) = of_kind(two, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert spread["labelSelector"] == of_kind(two, "Deployment")["spec"]["selector"]
    assert "PodDisruptionBudget" not in {o["kind"] for o in one}
    assert "topologySpreadConstraints" not in of_kind(one, "Deployment")["spec"]["template"]["spec"]
    assert of_kind(two, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    recreated = helm.template("--set=strategy.type=Recreate")
    assert of_kind(recreated, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_alerts_are_those_of_the_one_file(helm: Helm) -> None:
    source = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    rule = of_kind(helm.template("--set=prometheusRule.enabled=true"), "PrometheusRule")
    for group in source["groups"]:
        for alert in group["rules"]:
            if "alert" in alert:
                alert["annotations"]["runbook_url"] = alert["annotations"].pop("runbook")
    assert rule["spec"]["groups"] == source["groups"]
    chosen = of_kind(helm.template(values=CHART / "ci" / "monitoring-values.yaml"), "PrometheusRule")
    alerts = [r for group in chosen["spec"]["groups"][:-1] for r in group["rules"] if "alert" in r]
    assert {r["labels"]["team"] for r in alerts} == {"platform"}
    assert {r["annotations"]["runbook_url"][:29] for r in alerts} == {"https://example.com/zenlead/d"}
    names = {r["alert"] for r in alerts}
    assert "ZenLeadNoLeader" in names
    assert "ZenLeadNoStandby" not in names
    assert chosen["spec"]["groups"][-1]["rules"][0]["expr"] == "sum(zen_lead_leader_services_total) > 1e4"


def test_dashboards_are_those_of_the_one_folder(helm: Helm) -> None:
    files = {path.name: path.read_text() for path in (ROOT / "deploy" / "grafana").glob("*.json")}
    objects = [o for o in helm.template("--set=dashboards.enabled=true") if o["kind"] == "ConfigMap"]
    assert [o["data"] for o in objects] == ([files] if files else [])
    assert all(o["metadata"]["labels"]["grafana_dashboard"] == "1" for o in objects)


def test_metrics_can_be_switched_off(helm: Helm) -> None:
    objects = helm.template(
        "--set=metrics.enabled=false", "--set=serviceMonitor.enabled=true", "--set=networkPolicy.enabled=true"
    )
    assert flags(objects)["metrics-bind-address"] == "0"
    assert [port["name"] for port in container(objects)["ports"]] == ["health"]
    assert "ServiceMonitor" not in {o["kind"] for o in objects}
    (probes,) = of_kind(objects, "NetworkPolicy")["spec"]["ingress"]
    assert probes == {"ports": [{"port": 8081, "protocol": "TCP"}]}


def test_a_package_holds_the_alerts_and_no_tests(helm: Helm, tmp_path: Any) -> None:
    import tarfile

    helm.run("package", str(CHART), f"--destination={tmp_path}")
    with tarfile.open(tmp_path / f"zen-lead-{__version__}.tgz") as packed:
        names = {name.removeprefix("zen-lead/") for name in packed.getnames()}
        assert all(member.isfile() for member in packed.getmembers())
    assert {"Chart.yaml", "values.schema.json", "files/prometheus/rules.yaml"} <= names
    assert not [name for name in names if "test.yaml" in name or name.startswith("ci/")]
    dashboards = {f"files/grafana/{path.name}" for path in (ROOT / "deploy" / "grafana").glob("*.json")}
    assert dashboards <= names
