"""The machine that the figures are of, and what it did besides while they were taken."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def process_cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, those that have ended included, to the nanosecond."""
    cpu_clock_of_process = (~pid << 3) | 2  # as clock_getcpuclockid() makes it
    return time.clock_gettime_ns(cpu_clock_of_process) / 1e9


def thread_cpu_s(pid: int) -> dict[str, float]:
    """CPU time by thread name of the threads that live; equal names are summed."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            on_cpu_ns = int((task / "schedstat").read_text().split()[0])
        except OSError:  # it has just ended
            continue
        found[name] = found.get(name, 0) + on_cpu_ns / 1e9
    return found


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def udp_port_bound(port: int) -> bool:
    tables = [Path("/proc/net/udp"), Path("/proc/net/udp6")]
    lines = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return any(int(line[1].rsplit(":", 1)[1], 16) == port for line in lines)


@dataclass
class Instant:
    """All cores together, in CPU seconds since boot."""

    time_s: float
    busy_s: float
    steal_s: float

    @classmethod
    def now(cls) -> "Instant":
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(f) * TICK_S for f in fields[:8])
        busy = user + nice + system + irq + softirq
        return cls(time.monotonic(), busy, steal)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return "none"
    return ((done.stdout + done.stderr).splitlines() or ["none"])[0]


def facts() -> list[tuple[str, str]]:
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return [
        ("CPU", f"{len(os.sched_getaffinity(0))} cores of {_cpu_model()}"),
        ("memory", f"{memory_kib / 2**20:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("system", system),
        ("compiler", _first_line("gcc", "--version") + ", -O3, LTO"),
        ("librdkafka", _first_line("pkg-config", "--modversion", "rdkafka")),
        ("Go", _first_line("go", "version").removeprefix("go version ")),
    ]
