"""penstock-sim itself: what it says about its own runs, and whether it may be believed."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

Sim = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sink() -> Iterator[str]:
    """Somewhere to send to where nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{s.getsockname()[1]}"


def test_phases_are_judged_by_their_own_rates(sim: Sim, sink: str) -> None:
    """seed000 asks for 100 messages/s, then for 700: over both it can reach neither."""
    args = ("--target", sink, "--seconds", "1.5", "seed000")
    result = json.loads(sim(*args, "--json").stdout)
    slow, fast = result["phases"]
    assert (slow["rate_asked"], fast["rate_asked"]) == (100, 700)
    for phase in (slow, fast):
        # a machine that stands still for long makes it lower, nothing makes it higher
        assert 0.7 * phase["rate_asked"] < phase["rate"] <= 1.05 * phase["rate_asked"]
        assert phase["messages"] == phase["readings"]
    assert slow["messages"] + fast["messages"] == result["messages"]
    assert result["seconds"] == pytest.approx(slow["seconds"] + fast["seconds"], abs=0.1)
    lines = sim(*args).stdout.splitlines()
    assert [line.split("; ")[1] for line in lines if line.startswith("phase ")] == [
        "asked for 100",
        "asked for 700",
    ]


def test_one_phase_has_one_rate(sim: Sim, sink: str) -> None:
    args = ("--target", sink, "--rate", "200", "--seconds", "0.5")
    result = json.loads(sim(*args, "--json").stdout)
    (phase,) = result["phases"]
    assert (phase["rate_asked"], phase["messages"]) == (200, result["messages"])
    assert "; asked for 200" in sim(*args).stdout
