"""``zenlead config``: each setting once, as it counts, with its source; and nothing else of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from zenlead.cli import main
from zenlead.settings import KNOBS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [k.env for k in KNOBS] + ["LOG_LEVEL", "WATCH_NAMESPACE"]:
        monkeypatch.delenv(name, raising=False)


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    out, err = capsys.readouterr()
    assert err == ""
    head, *lines = [line.split(None, 2) for line in out.splitlines()]
    assert head == ["FLAG", "VALUE", "FROM"]
    assert [line[0] for line in lines] == [k.flag for k in KNOBS]
    return {flag: (value, source) for flag, value, source in lines}


def test_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert shown(capsys) == {k.flag: (k.default or '""', "default") for k in KNOBS}


def test_who_won(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "zenlead.yaml"
    file.write_text("burst: 7\nqps: 1\nlogLevel: error\n")
    monkeypatch.setenv("ZEN_LEAD_QPS", "2")
    monkeypatch.setenv("ZEN_LEAD_LOG_LEVEL", "debug")
    assert main(["config", f"--config={file}", "--log-level=warn"]) == 0
    told = shown(capsys)
    assert told["burst"] == ("7", f"{file} line 1")
    assert told["qps"] == ("2", "environment ZEN_LEAD_QPS")
    assert told["log-level"] == ("warn", "flag")
    assert told["config"] == (str(file), "flag")


def test_the_content_of_the_kubeconfig_stays_where_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("users: [{name: me, user: {token: hunter2}}]\n")
    assert main(["config", f"--kubeconfig={file}"]) == 0
    assert shown(capsys)["kubeconfig"] == (str(file), "flag")


def test_with_something_wrong_all_is_shown_and_the_code_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "zenlead.yaml"
    file.write_text("burst: lots\nqps: 5\nlog-level: debug\nretryMaxDelayMs: 1\n")
    monkeypatch.setenv("ZEN_LEAD_LEADER_ELECT", "yes")
    assert main(["config", f"--config={file}"]) == 2
    out, err = capsys.readouterr()
    told = {line.split(None, 2)[0]: line.split(None, 2)[1:] for line in out.splitlines()}
    assert len(told) == 1 + len(KNOBS)
    assert told["burst"] == ["lots", f"{file} line 1 (refused)"]
    assert told["qps"] == ["5", f"{file} line 2"]
    assert told["leader-elect"] == ["yes", "environment ZEN_LEAD_LEADER_ELECT (refused)"]
    assert [line.partition(";")[0] for line in err.splitlines()] == [
        f"zenlead: {file} line 3: unknown key 'log-level'",
        "zenlead: --leader-elect: 'yes' (environment ZEN_LEAD_LEADER_ELECT): not a boolean",
        f"zenlead: --burst: 'lots' ({file} line 1, key burst): not allowed",
    ]
    file.write_text("retryMaxDelayMs: 1\n")
    monkeypatch.delenv("ZEN_LEAD_LEADER_ELECT")
    assert main(["config", f"--config={file}"]) == 2
    told = [line.split(None, 2) for line in capsys.readouterr().out.splitlines()]
    assert ["retry-initial-delay-ms", "100", "default (refused)"] in told


def test_json_has_every_name_of_a_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "zenlead.yaml"
    file.write_text("qps: x\n")
    assert main(["config", "-o", "json", f"--config={file}", "--context=a\nb"]) == 2
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err.splitlines() == [f"zenlead: {line}" for line in told["problems"]]
    assert len(told["problems"]) == 2
    settings = {it["flag"]: it for it in told["settings"]}
    assert list(settings) == [k.flag for k in KNOBS]
    assert settings["qps"] == {
        "flag": "qps",
        "env": "ZEN_LEAD_QPS",
        "key": "qps",
        "value": "x",
        "source": f"{file} line 1",
        "default": "50",
        "allowed": "a number from 0 to 2147483647",
        "live": True,
        "refused": True,
    }
    assert settings["context"]["value"] == "a\nb"
    assert settings["config"]["key"] is None
    assert settings["leader-election-id"]["live"] is False
    assert main(["config", "--output=json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_a_value_takes_one_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--context=a\nb"]) == 2
    assert '  "a\\nb"  ' in capsys.readouterr().out


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-o", "yaml"]) == 2
    assert "argument -o/--output: invalid choice: 'yaml'" in capsys.readouterr().err
    assert main(["config", "--qsp=1"]) == 2
    assert "did you mean --qps?" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-c", "import sys; from zenlead.cli import main; sys.exit(main(['config']))"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # before it can have written: the interpreter is still starting
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(timeout=30) == 0
