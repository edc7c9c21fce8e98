"""``zenlead config``: each setting once, as it counts, with its source; and nothing else of the machine."""

from __future__ import annotations

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


def test_a_wrong_value_ends_it_as_it_would_end_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--qps=x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zenlead: --qps: 'x' (flag): not allowed")
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
