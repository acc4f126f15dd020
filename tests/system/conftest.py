"""Fixtures of the system tests: the real daemon, the real broker, the real simulator."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import Config, Daemon, free_udp_port
from kafka import KafkaServer

ROOT = Path(__file__).resolve().parent.parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also what takes minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests are left out, not skipped: a skip is for what this machine cannot do."""
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def build_dir() -> Path:
    build = ROOT / os.environ.get("PENSTOCK_BUILD", "build")
    assert (build / "build.ninja").exists(), f"{build} is not built: ./dev build"
    return build


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One broker for all tests that leave it alone; to stop one, start a KafkaServer for it."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def obeying(tmp_path: Path) -> list[str]:
    """What to put before a command so that permissions hold for it, for root too."""
    under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = under if os.geteuid() == 0 else []
    (tmp_path / "closed").mkdir(mode=0o500)
    try:
        done = subprocess.run([*command, "touch", tmp_path / "closed" / "x"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("permissions do not stop root, and there is no setpriv")
    if b"Permission denied" not in done.stderr:
        pytest.skip(f"permissions do not hold here: {done.stderr.decode()}")
    return command


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A small config, to be changed by the test: one stream, json input, journal, file output."""
    fields = [
        {"name": "temperature", "unit": "degC", "min": -40, "max": 125},
        {"name": "humidity", "unit": "%", "min": 0, "max": 100},
    ]
    stream = {
        "name": "climate",
        "fields": fields,
        "lateness": "1s",
        "windows": [{"size": "30s", "slide": "10s"}],
    }
    listen = f"127.0.0.1:{free_udp_port()}"
    return {
        "name": "under-test",
        "workers": 1,
        "streams": [stream],
        "inputs": [{"name": "udp", "format": "json", "listen": listen, "stream": "climate"}],
        "journal": {"dir": str(tmp_path / "state"), "sync": "always"},
        "outputs": [{"name": "file", "type": "file", "path": str(tmp_path / "records.jsonl")}],
        "api": {"socket": str(tmp_path / "api.sock")},
    }


@pytest.fixture
def penstockd(build_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """penstockd(config): a started Daemon. Each that still runs at the end closes its ledger.

    A test that ends with its daemon down on purpose starts it again, or passes settle=False and
    says why.
    """
    made: list[tuple[Daemon, bool]] = []

    def make(config: Config, *, start: bool = True, settle: bool = True) -> Daemon:
        folder = tmp_path / f"daemon-{len(made)}"
        folder.mkdir()
        daemon = Daemon(build_dir, folder, config)
        made.append((daemon, settle))
        if start:
            daemon.start()
        return daemon

    yield make
    problems = []
    for daemon, settle in made:
        try:
            if settle:
                assert daemon.running, f"penstockd is not running:\n{daemon.log[-4000:]}"
                daemon.settle()
            if daemon.running:
                daemon.stop()
        except AssertionError as problem:
            problems.append(str(problem))
        finally:
            daemon.kill()
    assert not problems, "\n\n".join(problems)


@pytest.fixture
def sim(build_dir: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """sim("--rate", "100", ...): runs penstock-sim to its end; a failure is one of the test."""

    def run(*args: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        command = [str(build_dir / "firmware-sim" / "penstock-sim"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done

    return run
