"""One table of knobs: who wins, what each way in is called, and which values do not go together."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st

from zenlead.knobs import Address
from zenlead.reading import SettingsError, again, examine, load, turned
from zenlead.settings import KNOB_BY_FLAG, KNOBS, Settings

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT_DEFAULTS = {
    "metrics-bind-address": ":8080",
    "health-probe-bind-address": ":8081",
    "leader-election-id": "zen-lead-controller-leader-election",
    "leader-election-lease-duration": "15s",
    "leader-election-renew-deadline": "10s",
    "leader-election-retry-period": "2s",
    "leader-elect": "true",
    "max-cache-size-per-namespace": "1000",
    "max-concurrent-reconciles": "10",
    "cache-update-timeout-seconds": "10",
    "metrics-collection-timeout-seconds": "5",
    "qps": "50",
    "burst": "100",
    "retry-max-attempts": "3",
    "retry-initial-delay-ms": "100",
    "retry-max-delay-ms": "5000",
    "fast-retry-initial-delay-ms": "20",
    "fast-retry-max-delay-ms": "500",
    "fast-retry-max-attempts": "2",
    "enable-leader-pod-cache": "true",
    "leader-pod-cache-ttl-seconds": "30",
    "enable-parallel-api-calls": "true",
    "cache-cleanup-interval-seconds": "300",
    "reconcile-min-interval-ms": "0",
    "watch-namespaces": "",
    "kubeconfig": "",
    "context": "",
    "config": "",
    "log-level": "info",
    "log-format": "auto",
    "dry-run": "false",
    "write-conditions": "true",
    "metrics-per-service": "true",
}


def problems(flags: dict[str, str], environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert not any("\n" in line for line in caught.value.problems)
    return caught.value.problems


def config(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "zenlead.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_the_table_is_the_contract() -> None:
    assert {k.flag: k.default for k in KNOBS} == CONTRACT_DEFAULTS


def test_names_on_every_way_in() -> None:
    k = KNOB_BY_FLAG["leader-election-lease-duration"]
    assert k.field == "leader_election_lease_duration_s"
    assert k.env == "ZEN_LEAD_LEADER_ELECTION_LEASE_DURATION"
    assert k.key == "leaderElectionLeaseDuration"
    assert KNOB_BY_FLAG["qps"].key == "qps"
    assert all(k.help and k.group for k in KNOBS)


def test_defaults_are_parsed() -> None:
    settings = Settings()
    assert settings.metrics_bind_address == Address("", 8080)
    assert settings.leader_election_renew_deadline_s == 10.0
    assert settings.leader_elect is True
    assert settings.watch_namespaces == ()
    loaded = load({}, {})
    assert loaded.given == {}
    assert {line.source for line in loaded.effective()} == {"default"}


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = config(tmp_path, "qps: 1\nburst: 1\nmaxConcurrentReconciles: 1\n")
    environ = {"ZEN_LEAD_QPS": "2", "ZEN_LEAD_BURST": "2", "ZEN_LEAD_CONFIG": path}
    settings = load({"qps": "3"}, environ)
    assert (settings.qps, settings.burst, settings.max_concurrent_reconciles) == (3, 2, 1)
    sources = {line.flag: (line.text, line.source) for line in settings.effective()}
    assert sources["qps"] == ("3", "flag")
    assert sources["burst"] == ("2", "environment ZEN_LEAD_BURST")
    assert sources["max-concurrent-reconciles"] == ("1", f"{path} line 3")
    assert sources["retry-max-attempts"] == ("3", "default")
    assert sources["config"] == (path, "environment ZEN_LEAD_CONFIG")
    assert [line.flag for line in settings.effective()] == [k.flag for k in KNOBS]


# A value for each knob that is not its default, and what goes with all the others.
OTHER = {
    "metrics-bind-address": "127.0.0.1:9090",
    "health-probe-bind-address": "0",
    "metrics-collection-timeout-seconds": "7",
    "metrics-per-service": "false",
    "leader-elect": "false",
    "leader-election-id": "other",
    "leader-election-lease-duration": "30s",
    "leader-election-renew-deadline": "20s",
    "leader-election-retry-period": "1s",
    "max-concurrent-reconciles": "4",
    "qps": "2.5",
    "burst": "0",
    "reconcile-min-interval-ms": "250",
    "enable-parallel-api-calls": "false",
    "write-conditions": "false",
    "retry-max-attempts": "5",
    "retry-initial-delay-ms": "50",
    "retry-max-delay-ms": "800",
    "fast-retry-max-attempts": "4",
    "fast-retry-initial-delay-ms": "10",
    "fast-retry-max-delay-ms": "90",
    "max-cache-size-per-namespace": "0",
    "cache-update-timeout-seconds": "3",
    "cache-cleanup-interval-seconds": "60",
    "enable-leader-pod-cache": "false",
    "leader-pod-cache-ttl-seconds": "0",
    "watch-namespaces": "team-a,team-b",
    "kubeconfig": "/etc/kubeconfig",
    "context": "kind",
    "log-level": "debug",
    "log-format": "json",
    "dry-run": "true",
}


def test_every_knob_can_be_set_on_every_way(tmp_path: Path) -> None:
    assert set(OTHER) == set(KNOB_BY_FLAG) - {"config"}
    by_flag = load(OTHER, {})
    by_environment = load({}, {KNOB_BY_FLAG[flag].env: text for flag, text in OTHER.items()})
    path = config(tmp_path, "".join(f"{KNOB_BY_FLAG[flag].key}: {text}\n" for flag, text in OTHER.items()))
    by_file = load({"config": path}, {})
    for flag in OTHER:
        field = KNOB_BY_FLAG[flag].field
        value = getattr(by_flag, field)
        assert value != getattr(Settings(), field), flag
        assert getattr(by_environment, field) == getattr(by_file, field) == value
        assert by_environment.given[flag].source == f"environment {KNOB_BY_FLAG[flag].env}"
        assert by_file.given[flag].source.startswith(f"{path} line ")


def test_old_names_of_the_environment() -> None:
    settings = load({}, {"WATCH_NAMESPACE": "a,b", "LOG_LEVEL": "DEBUG"})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.log_level == "debug"
    assert load({}, {"LOG_LEVEL": "debug", "ZEN_LEAD_LOG_LEVEL": "error"}).log_level == "error"


def test_an_empty_variable_is_not_set_and_an_empty_flag_is() -> None:
    settings = load({"metrics-bind-address": ""}, {"ZEN_LEAD_HEALTH_PROBE_BIND_ADDRESS": ""})
    assert settings.metrics_bind_address is None
    assert settings.health_probe_bind_address == Address("", 8081)


def test_variables_that_kubernetes_makes_of_a_service_named_zen_lead_do_no_harm() -> None:
    load({}, {"ZEN_LEAD_PORT": "tcp://10.0.0.1:80", "ZEN_LEAD_SERVICE_HOST": "10.0.0.1"})


def test_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({}, {"POD_NAME": "zen-lead-0", "POD_NAMESPACE": "ops"})
    assert (settings.identity, settings.pod_name, settings.pod_namespace) == (
        "zen-lead-0",
        "zen-lead-0",
        "ops",
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop")
    monkeypatch.setattr(os, "getpid", lambda: 42)
    assert load({}, {}).identity == "laptop_42"


def test_every_problem_is_told_with_its_source(tmp_path: Path) -> None:
    path = config(tmp_path, "burst: lots\nqps: many\n")
    told = problems({"qps": "-1", "config": path}, {"ZEN_LEAD_LEADER_ELECT": "yes"})
    assert told == (
        "--leader-elect: 'yes' (environment ZEN_LEAD_LEADER_ELECT): not a boolean; allowed: true or false "
        "(also 1 t T TRUE True 0 f F FALSE False)",
        f"--qps: 'many' ({path} line 2, key qps): not allowed; allowed: a number from 0 to 2147483647",
        "--qps: '-1' (flag): not allowed; allowed: a number from 0 to 2147483647",
        f"--burst: 'lots' ({path} line 1, key burst): not allowed; "
        "allowed: a whole number from 0 to 2147483647",
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {"leader-election-lease-duration": "10s", "leader-election-renew-deadline": "15s"},
            "--leader-election-renew-deadline: '15s' (flag): must be shorter than "
            "--leader-election-lease-duration, which is 10s (flag)",
        ),
        (
            {"leader-election-lease-duration": "10s"},
            "--leader-election-renew-deadline: '10s' (default): must be shorter than "
            "--leader-election-lease-duration, which is 10s (flag)",
        ),
        (
            {"leader-election-retry-period": "10s"},
            "--leader-election-renew-deadline: '10s' (default): must be longer than 1.2 times "
            "--leader-election-retry-period, which is 10s (flag)",
        ),
        (
            {"leader-election-renew-deadline": "2400ms"},
            "--leader-election-renew-deadline: '2400ms' (flag): must be longer than 1.2 times "
            "--leader-election-retry-period, which is 2s (default)",
        ),
        (
            {"retry-max-delay-ms": "99"},
            "--retry-initial-delay-ms: '100' (default): must not exceed "
            "--retry-max-delay-ms, which is 99 (flag)",
        ),
        (
            {"fast-retry-initial-delay-ms": "501"},
            "--fast-retry-initial-delay-ms: '501' (flag): must not exceed "
            "--fast-retry-max-delay-ms, which is 500 (default)",
        ),
        (
            {"metrics-bind-address": ":8081"},
            "--health-probe-bind-address: ':8081' (default): must differ from "
            "--metrics-bind-address, which is :8081 (flag)",
        ),
    ],
)
def test_values_that_do_not_go_together(flags: dict[str, str], expected: str) -> None:
    assert problems(flags) == (expected,)


def test_values_that_just_go_together() -> None:
    load({"leader-election-renew-deadline": "2401ms"}, {})
    load({"leader-election-renew-deadline": "14.9s"}, {})
    load({"retry-max-delay-ms": "100"}, {})
    both_off = load({"metrics-bind-address": "0", "health-probe-bind-address": "0"}, {})
    assert both_off.metrics_bind_address is both_off.health_probe_bind_address is None
    load({"metrics-bind-address": ":0", "health-probe-bind-address": ":0"}, {})


@pytest.mark.parametrize("flag", ["lease-duration", "renew-deadline", "retry-period"])
@pytest.mark.parametrize("text", ["0", "0s", "-5s", "", "15"])
def test_no_lease_timing_is_zero_negative_or_without_unit(flag: str, text: str) -> None:
    (line,) = problems({f"leader-election-{flag}": text})
    assert line.startswith(f"--leader-election-{flag}: {text!r} (flag): not a")
    assert "allowed: a duration" in line


def test_file_lists_comments_and_scalars_as_text(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "# ours\nwatchNamespaces:\n  - a\n  - b\nmetricsBindAddress: 0\nleaderElect: false\n"
        "leaderElectionId: 007\nhealthProbeBindAddress: ':9'\nqps: &pace 5\nburst: *pace\n",
    )
    settings = load({"config": path}, {})
    assert settings.watch_namespaces == ("a", "b")
    assert settings.metrics_bind_address is None
    assert settings.leader_elect is False
    assert settings.leader_election_id == "007"
    assert settings.health_probe_bind_address == Address("", 9)
    assert settings.qps == settings.burst == 5


@pytest.mark.parametrize("body", [b"\xef\xbb\xbfqps: 5\n", "qps: 5\n".encode("utf-16"), b'{"qps": 5}'])
def test_the_file_as_other_programs_write_it(tmp_path: Path, body: bytes) -> None:
    assert load({"config": config(tmp_path, body)}, {}).qps == 5


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    path = config(tmp_path, text)
    assert set(load({"config": path}, {}).given) == {"config"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "metricBindAdress: 0\n",
            "{path} line 1: unknown key 'metricBindAdress'; did you mean metricsBindAddress?",
        ),
        (
            "a: 1\nleader-elect: false\n",
            "{path} line 2: unknown key 'leader-elect'; did you mean leaderElect?",
        ),
        ("LOG_LEVEL: info\n", "{path} line 1: unknown key 'LOG_LEVEL'; did you mean logLevel?"),
        ("password: x\n", "{path} line 1: unknown key 'password'; `zenlead config -o json` lists the keys"),
        ("config: other.yaml\n", "{path} line 1: config has no place in a file; give it as a flag or"),
        ("<<: {{qps: 1}}\n", "{path} line 1: unknown key '<<'"),
        ("? [qps]\n: 1\n", "{path} line 1: a key is no word; allowed: lines such as"),
        ("qps: 1\nqps: 2\n", "{path} line 2: qps stands there twice (first at {path} line 1)"),
        (
            "qps: {{a: 1}}\n",
            "{path} line 1: qps holds more than a value; allowed: a number from 0 to",
        ),
        ("qps: [5]\n", "{path} line 1: qps holds more than a value; allowed: a number from 0 to"),
        (
            "watchNamespaces: [[a]]\n",
            "{path} line 1: an item of watchNamespaces holds more than a value; allowed: names with commas",
        ),
        (
            "watchNamespaces: {{a: b}}\n",
            "{path} line 1: watchNamespaces holds more than a value; allowed: names with commas",
        ),
        ("watchNamespaces: ['']\n", "{path} line 1: an item of watchNamespaces is empty"),
        ("watchNamespaces: [~]\n", "{path} line 1: an item of watchNamespaces is null"),
        ("qps:\n", "{path} line 1: qps is null; leave it out for the default, or write ''"),
        ("kubeconfig: null\n", "{path} line 1: kubeconfig is null"),
        ("qps: !!int 5\n", "{path} line 1: qps has a tag, 'tag:yaml.org,2002:int'; allowed: the value alone"),
        ("qps: !!python/object/apply:os.system ['true']\n", "{path} line 1: qps holds more than a value"),
        ("!!set {{qps}}\n", "--config: {path!r} (flag): holds no mapping"),
        ("leaderElect: yes\n", "--leader-elect: 'yes' ({path} line 1, key leaderElect): not a boolean"),
        ("leaderElect: on\n", "--leader-elect: 'on' ({path} line 1, key leaderElect): not a boolean"),
        (
            "burst: 0777\n",
            "--burst: '0777' ({path} line 1, key burst): begins with 0, which some read as octal; allowed: a",
        ),
        ("burst: 0x1F\n", "--burst: '0x1F' ({path} line 1, key burst): not allowed"),
        ("burst: 1e3\n", "--burst: '1e3' ({path} line 1, key burst): not allowed"),
        ("qps: 1e3\n", "--qps: '1e3' ({path} line 1, key qps): not allowed"),
        ("qps: .inf\n", "--qps: '.inf' ({path} line 1, key qps): not allowed"),
        ("burst: 1_000\n", "--burst: '1_000' ({path} line 1, key burst): not allowed"),
        (
            "burst: " + "9" * 5000 + "\n",
            "--burst: '" + "9" * 60 + "…' ({path} line 1, key burst): not allowed",
        ),
        ("burst: |\n  5\n", "--burst: '5\\n' ({path} line 1, key burst): not allowed"),
        ("leaderElectionLeaseDuration: 1:30\n", "--leader-election-lease-duration: '1:30' ({path} line 1,"),
        ('context: "\\ud800"\n', "--context: '\\ud800' ({path} line 1, key context): has characters that"),
        ('"\\UFFFFFFFF": 1\n', "--config: {path!r} (flag): is no YAML: a number in it is too large"),
        ("%YAML " + "9" * 5000 + ".1\n---\n", "--config: {path!r} (flag): is no YAML: a number in it is too"),
        ("[" * 5000, "--config: {path!r} (flag): nests too deeply"),
        ("qps: *secret\n", "--config: {path!r} (flag): is no YAML (line 1): found undefined alias"),
        ("qps: 1\x00\n", "--config: {path!r} (flag): is no YAML: unacceptable character #x0000"),
        ("hunter2\n", "--config: {path!r} (flag): holds no mapping"),
        ("- qps\n", "--config: {path!r} (flag): holds no mapping; allowed: lines such as leaderElect: false"),
        (
            "burst: 1\nqps: [1\n",
            "--config: {path!r} (flag): is no YAML (line 3): while parsing a flow sequence, expected ',' or",
        ),
        ("a: 1\n--- \nb: 1\n", "--config: {path!r} (flag): is no YAML (line 2): expected a single document"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    path = config(tmp_path, text.replace("{{", "{").replace("}}", "}"))
    short = path if len(path) <= 60 else path[:60] + "…"
    told = problems({"config": path})
    wanted = expected.replace("{path!r}", repr(short)).replace("{path}", path)
    assert any(line.startswith(wanted) for line in told), told


def test_a_file_that_is_not_there_not_text_or_no_file(tmp_path: Path) -> None:
    assert problems({"config": "/no/such"}) == (
        "--config: '/no/such' (flag): cannot be read: No such file or directory",
    )
    (line,) = problems({"config": "/"})
    assert line == "--config: '/' (flag): cannot be read: Is a directory"
    (line,) = problems({"config": config(tmp_path, b"qps: \xff\n")})
    assert "is no YAML" in line
    (line,) = problems({"config": config(tmp_path, b"#" * (1 << 20))})
    assert "is longer than 65536 bytes" in line
    assert load({"config": config(tmp_path, b"#" * (1 << 16))}, {}).qps == 50


def test_a_file_of_something_else_is_told_in_few_lines_and_without_its_values(tmp_path: Path) -> None:
    text = "".join(f"user{number}: {{token: hunter{number}}}\n" for number in range(1000))
    told = problems({"config": config(tmp_path, text)})
    assert len(told) == 21
    assert told[-1] == "and 980 more problems"
    assert "hunter" not in "".join(told)


def test_aliases_that_multiply_cost_nothing(tmp_path: Path) -> None:
    """Each level names the one before ten times; nobody writes that out."""
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
    )
    told = problems({"config": config(tmp_path, bomb + "watchNamespaces: *a29\n")})
    assert told[0].endswith("unknown key 'a0'; `zenlead config -o json` lists the keys")
    (itself,) = problems({"config": config(tmp_path, "watchNamespaces: &all [*all]\n")})
    assert "an item of watchNamespaces holds more than a value" in itself


@search(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")),
        st.lists(
            st.sampled_from(
                [k.key for k in KNOBS]
                + list("[]{}:,&*!|>'\"%@`#~-?\n\n ")
                + [": ", "\n- ", "yes", "1e3", "0777"]
            ),
            max_size=40,
        ).map(lambda words: "".join(words).encode()),
    )
)
def test_any_bytes_are_settings_or_complaints(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    """Nothing else comes out: no other exception, no complaint that is empty or takes several lines."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(body)
    reading = examine({"config": str(path)}, {})
    assert (reading.found is None) == bool(reading.problems)
    for line in reading.problems:
        assert line.isprintable()
        assert 10 < len(line) < 600
    for k in KNOBS:
        if reading.found is not None and k.flag not in reading.given:
            assert getattr(reading.found, k.field) == getattr(Settings(), k.field)


@given(st.data())
def test_what_is_written_as_yaml_is_read_as_it_was_meant(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any text of any knob, quoted by a YAML library, is the text that its knob gets."""
    texts = data.draw(
        st.dictionaries(st.sampled_from([k.key for k in KNOBS if k.in_file]), st.text(max_size=30))
    )
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(yaml.safe_dump(texts, default_style='"'))
    reading = examine({"config": str(path)}, {})
    assert {it.key: it.text for flag, it in reading.given.items() if flag != "config"} == texts


# --- a file that changes --------------------------------------------------------------------------


def test_what_a_changed_file_means_for_a_controller_that_runs(tmp_path: Path) -> None:
    path = config(tmp_path, "qps: 1\nburst: 1\nleaderElectionId: a\nlogLevel: debug\n")
    environ = {"ZEN_LEAD_CONFIG": path, "ZEN_LEAD_BURST": "7"}
    running = load({"log-level": "warn"}, environ)
    config(
        tmp_path,
        "burst: 2\nleaderElectionId: b\nlogLevel: error\nretryMaxAttempts: 9\nwriteConditions: true\n",
    )
    wanted = again(running, environ)
    after = turned(running, wanted)
    assert after.applied == ("qps", "retry-max-attempts")
    assert after.waiting == ("leader-election-id",)
    now = after.settings
    assert (now.qps, now.retry_max_attempts, now.leader_election_id) == (50, 9, "a")
    assert (now.burst, now.log_level) == (7, "warn"), "the environment and a flag have won, and still do"
    sources = {line.flag: line.source for line in now.effective()}
    assert sources["qps"] == "default"
    assert sources["retry-max-attempts"] == f"{path} line 4"
    assert sources["leader-election-id"] == f"{path} line 3"
    assert turned(now, wanted)[1:] == ((), ("leader-election-id",))
    assert turned(running, running) == (running, (), ())


def test_a_broken_file_is_not_used_at_all(tmp_path: Path) -> None:
    path = config(tmp_path, "qps: 1\n")
    running = load({"config": path}, {})
    config(tmp_path, "qps: 2\nburst: lots\n")
    with pytest.raises(SettingsError, match="--burst: 'lots'"):
        again(running, {})


def test_knobs_that_must_go_together_are_turned_together() -> None:
    """Else a part of a sound file could make settings that no start would take."""
    live = {k.flag: k.live for k in KNOBS}
    for pair in (
        ("leader-election-lease-duration", "leader-election-renew-deadline"),
        ("leader-election-retry-period", "leader-election-renew-deadline"),
        ("retry-initial-delay-ms", "retry-max-delay-ms"),
        ("fast-retry-initial-delay-ms", "fast-retry-max-delay-ms"),
        ("metrics-bind-address", "health-probe-bind-address"),
    ):
        assert len({live[flag] for flag in pair}) == 1
