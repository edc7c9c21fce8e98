"""argv in, exit code and one line out; the controller itself is a stand-in here."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from zenlead import __version__
from zenlead.cli import main
from zenlead.kube.errors import Forbidden, Invalid, Unauthorized, Unreachable
from zenlead.sandbox.box import write_kubeconfig
from zenlead.settings import KNOBS, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class ConfigError(Exception):
    """What the API room raises when it finds no usable configuration."""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [k.env for k in KNOBS] + ["LOG_LEVEL", "WATCH_NAMESPACE"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Settings]]:
    """Puts a controller in place that ends with a status or an error, and keeps the settings it got."""

    def install(outcome: int | BaseException = 0) -> list[Settings]:
        seen: list[Settings] = []

        async def run(settings: Settings) -> int:
            seen.append(settings)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        module: Any = ModuleType("zenlead.controller.run")
        module.run, module.new_loop = run, asyncio.SelectorEventLoop
        monkeypatch.setitem(sys.modules, "zenlead.controller.run", module)
        api: Any = ModuleType("zenlead.kube.api")
        api.ConfigError = ConfigError
        monkeypatch.setitem(sys.modules, "zenlead.kube.api", api)
        return seen

    return install


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize("argv", [[], ["run"]])
@pytest.mark.parametrize("status", [0, 1])
def test_no_command_is_run(controller: Any, argv: list[str], status: int) -> None:
    seen = controller(status)
    assert main(argv) == status
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--leader-elect=false"], "leader_elect", False),
        (["-leader-elect=false"], "leader_elect", False),
        (["--leader-elect=F"], "leader_elect", False),
        (["--dry-run"], "dry_run", True),
        (["-dry-run", "run"], "dry_run", True),
        (["run", "--dry-run"], "dry_run", True),
        (["--qps", "5"], "qps", 5.0),
        (["-qps", "5", "run"], "qps", 5.0),
        (["run", "-qps=5"], "qps", 5.0),
        (["--qps=1", "--qps=2"], "qps", 2.0),
        (["--context", "-odd"], "context", "-odd"),
        (["--context=a=b"], "context", "a=b"),
        (["--context", "run"], "context", "run"),
        (["--health-probe-bind-address="], "health_probe_bind_address", None),
        (["-health-probe-bind-address=0"], "health_probe_bind_address", None),
    ],
)
def test_flags_as_go_and_as_unix_write_them(
    controller: Any, argv: list[str], field: str, value: object
) -> None:
    seen = controller()
    assert main(argv) == 0
    assert getattr(seen[0], field) == value


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["bogus"], "unknown command 'bogus'; known: run, config, cleanup, demo"),
        (["run", "more"], "unexpected 'more' after the command run; see zenlead run --help"),
        (["--qsp", "3"], "unknown flag --qsp; did you mean --qps?"),
        (["--qsp=3"], "unknown flag --qsp; did you mean --qps?"),
        (
            ["-metric-bind-address=:1"],
            "unknown flag -metric-bind-address; did you mean --metrics-bind-address?",
        ),
        (["--metrics"], "unknown flag --metrics; did you mean --"),  # no abbreviations
        (["--qps"], "--qps needs a value, such as --qps=50"),
        (["--kubeconfig"], "--kubeconfig needs a value, such as --kubeconfig=PATH"),
        (["--leader-elect", "false"], "--leader-elect false: write --leader-elect=false"),
        (["--leader-elect="], "--leader-elect: '' (flag): not a boolean; allowed: true or false"),
        (["--qps=x"], "--qps: 'x' (flag): not allowed; allowed: a number from 0"),
        (
            ["--metrics-bind-address=:::8080"],
            "--metrics-bind-address: ':::8080' (flag): an IPv6 address stands in",
        ),
        (
            ["--leader-election-retry-period", "-1s"],
            "--leader-election-retry-period: '-1s' (flag): not a duration",
        ),
        (["demo", "--qps=3"], "--qps is no flag of zenlead demo; see zenlead demo --help"),
        (["demo", "--rounds=0"], "argument --rounds: '0' not allowed; allowed: a whole number from 1"),
        (["demo", "--rounds"], "argument --rounds: expected one argument"),
        (["--config=/no/such"], "--config: '/no/such' (flag): cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_line_and_two(
    controller: Any, capsys: pytest.CaptureFixture[str], argv: list[str], expected: str
) -> None:
    seen = controller()
    assert main(argv) == 2
    (line,) = lines(capsys)
    assert line.startswith(f"zenlead: {expected}")
    assert seen == []


def test_several_wrong_values_are_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEN_LEAD_BURST", "many")
    assert main(["--qps=x"]) == 2
    first, second = lines(capsys)
    assert first.startswith("zenlead: --qps: 'x' (flag)")
    assert second.startswith("zenlead: --burst: 'many' (environment ZEN_LEAD_BURST)")


IN_USE = OSError(errno.EADDRINUSE, "Address already in use", ":8081")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("no kubeconfig found;\nset --kubeconfig"), "no kubeconfig found; set --kubeconfig"),
        (
            Unreachable("refused"),
            "cannot reach the API server: refused; check --kubeconfig, --context and the network",
        ),
        (
            Unauthorized("expired"),
            "the API server does not accept these credentials: expired; check --kubeconfig",
        ),
        (Forbidden("cannot list pods"), "not allowed by the API server: cannot list pods; check the roles"),
        (Invalid("bad"), "the API server refused: bad"),
        (
            IN_USE,
            "--health-probe-bind-address: ':8081' (default): cannot listen there: Address already in use; "
            "choose another, or 0 to switch it off",
        ),
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "cannot listen on a port: Address already in use",
        ),
        (OSError(errno.ENOENT, "gone"), "unexpected FileNotFoundError: [Errno 2] gone; --log-level=debug"),
        (
            ExceptionGroup("g", [ExceptionGroup("h", [Unreachable("refused")])]),
            "cannot reach the API server: refused",
        ),
        (ExceptionGroup("g", [Invalid("bad"), Invalid("bad")]), "the API server refused: bad"),
        (ValueError("a\nb"), "unexpected ValueError: a b; --log-level=debug shows where"),
    ],
)
def test_what_ends_the_controller_is_one_line_and_one(
    controller: Any, capsys: pytest.CaptureFixture[str], error: BaseException, expected: str
) -> None:
    controller(error)
    assert main([]) == 1
    (line,) = lines(capsys)
    assert line.startswith(f"zenlead: {expected}")


def test_debug_shows_where(controller: Any, capsys: pytest.CaptureFixture[str]) -> None:
    controller(ValueError("odd"))
    assert main(["--log-level=debug"]) == 1
    told = lines(capsys)
    assert told[0] == "Traceback (most recent call last):"
    assert told[-1] == "zenlead: unexpected ValueError: odd; --log-level=debug shows where"


def test_an_interrupt_before_the_controller_listens_for_it(
    controller: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    controller(KeyboardInterrupt())
    assert main([]) == 130
    assert lines(capsys) == []


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """An API server that takes the question for its version and never answers, and a kubeconfig for it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        config = tmp_path / "kubeconfig"
        write_kubeconfig(config, f"http://127.0.0.1:{server.getsockname()[1]}", "t")
        yield server, f"--kubeconfig={config}"


def test_sigterm_before_the_controller_listens_for_it(mute: tuple[socket.socket, str]) -> None:
    """Process 1 of a container ignores a signal that it has no handler for."""
    server, config = mute
    command = [sys.executable, "-m", "zenlead", config]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
        server.accept()[0],
    ):
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out
    assert "Traceback" not in out


IMPATIENT = """
import sys
from zenlead.controller import run
run.START_PATIENCE_S = 0.2
from zenlead.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_api_server_that_says_nothing_cannot_be_reached(mute: tuple[socket.socket, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, mute[1]], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == (
        "zenlead: cannot reach the API server: no answer within 0.2 s; "
        "check --kubeconfig, --context and the network\n"
    )


@pytest.mark.parametrize(
    ("argv", "rounds", "hold"),
    [
        (["demo"], None, False),
        (["demo", "--rounds", "5"], 5, False),
        (["demo", "--hold", "--rounds=1"], 1, True),
    ],
)
def test_demo(monkeypatch: pytest.MonkeyPatch, argv: list[str], rounds: int | None, hold: bool) -> None:
    seen: list[Any] = []
    module: Any = ModuleType("zenlead.sandbox.demo")
    module.main = lambda args: seen.append(args) or 3
    monkeypatch.setitem(sys.modules, "zenlead.sandbox.demo", module)
    monkeypatch.setenv("ZEN_LEAD_QPS", "x")  # no business of a command without settings
    assert main(argv) == 3
    assert (seen[0].rounds, seen[0].hold) == (rounds, hold)


def test_help_shows_every_flag_with_default_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["-h"], ["run", "--help"]):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 0
        text = " ".join(capsys.readouterr().out.replace("leader-\n", "leader-").split())
        for k in KNOBS:
            assert f"--{k.flag} " in text
            assert f"[{k.env}]" in text
            assert k.group in text
        assert "(default 15s)" in text


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "\n  run      be the controller of a cluster" in text
    assert "\n  demo     show elections" in text
    assert max(len(line) for line in text.splitlines()) <= 110
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    text = capsys.readouterr().out
    assert "--rounds N" in text
    assert "--qps" not in text


def test_version_of_the_module_and_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from zenlead.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'aiohttp', 'yaml', 'prometheus_client', 'kubernetes_asyncio'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    version, loaded = out.splitlines()
    assert version == f"zenlead {__version__} (Python {sys.version.split()[0]})"
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"ZEN_LEAD_COMMIT": "abc", "ZEN_LEAD_BUILD_DATE": "2026-01-02"}, "commit abc, built 2026-01-02, "),
        ({"ZEN_LEAD_COMMIT": "abc", "ZEN_LEAD_BUILD_DATE": ""}, "commit abc, "),
    ],
)
def test_version_says_which_build_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], told: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"zenlead {__version__} ({told}Python {sys.version.split()[0]})\n"


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zenlead", "--qps=x"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("zenlead: --qps: 'x' (flag)")
    assert done.stderr.count("\n") == 1
