"""./dev demo, short: what a newcomer sees first has to work."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MARKER = "PENSTOCK_TEST_OF_DEMO"  # every program of the demo inherits it
DEMO = ["/usr/bin/python3", str(ROOT / "deploy" / "demo" / "demo.py")]


def start(build_dir: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PENSTOCK_BUILD": str(build_dir), MARKER: str(build_dir)}
    return subprocess.Popen(
        [*DEMO, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        start_new_session=True,
    )


def left_running(build_dir: Path) -> list[str]:
    """Programs of the demo that are still there: penstockd, simulators, the broker."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{MARKER}={build_dir}".encode() in environment:
            found.append(process.name)
    return found


@pytest.mark.parametrize("kafka", [False, True])
def test_demo_ends_with_a_balanced_ledger(build_dir: Path, kafka: bool) -> None:
    demo = start(build_dir, "--seconds", "8", *(["--kafka"] if kafka else []))
    out, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, out
    assert "The ledger is balanced" in out
    assert "nothing is unexplained" in out
    assert ("read back from Kafka" in out) == kafka
    assert "CC BY 4.0" in out
    assert "\033" not in out, "escape sequences are for terminals"
    assert max(map(len, out.splitlines())) <= 110
    assert not left_running(build_dir)


@pytest.mark.parametrize("kafka", [False, True])
def test_demo_that_is_broken_off_still_sums_up(build_dir: Path, kafka: bool) -> None:
    demo = start(build_dir, "--seconds", "60", *(["--kafka"] if kafka else []))
    time.sleep(12 if kafka else 5)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
    out, _ = demo.communicate(timeout=40)
    assert demo.returncode == 130, out
    assert "The ledger is balanced" in out
    assert ("read back from Kafka" in out) == kafka
    assert not left_running(build_dir)


def test_second_interrupt_ends_it_at_once(build_dir: Path) -> None:
    demo = start(build_dir, "--seconds", "60")
    time.sleep(4)
    os.kill(demo.pid, signal.SIGINT)
    os.kill(demo.pid, signal.SIGTERM)
    demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert not left_running(build_dir)


@pytest.mark.parametrize("args", [["--seconds", "1"], ["--data", "/nonexistent"], ["--colour"]])
def test_wrong_arguments_are_told(build_dir: Path, args: list[str]) -> None:
    demo = start(build_dir, *args)
    out, _ = demo.communicate(timeout=10)
    assert demo.returncode == 2 and "usage: ./dev demo" in out
