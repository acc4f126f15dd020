"""Builds the Telegraf of the bench: from the Go module proxy, once per version, kept per user."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from places import ROOT, Unavailable, cache_dir

SOURCE = ROOT / "perf" / "peers" / "telegraf"
FILES = ("main.go", "go.mod", "go.sum")


def version() -> str:
    found = re.search(r"influxdata/telegraf (v[\d.]+)", (SOURCE / "go.mod").read_text())
    return found.group(1) if found else "unknown"


def _go_version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split("."))


def _check_go() -> None:
    if shutil.which("go") is None:
        raise Unavailable("no Go here")
    env = os.environ | {"GOTOOLCHAIN": "local"}
    done = subprocess.run(["go", "version"], capture_output=True, text=True, env=env)
    have = re.search(r"go(\d+\.\d+(?:\.\d+)?)", done.stdout)
    need = re.search(r"^go (\S+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    if not have or not need or _go_version(have.group(1)) < _go_version(need.group(1)):
        has = have.group(1) if have else "unknown"
        wants = need.group(1) if need else "unknown"
        raise Unavailable(f"Go {has} here, Telegraf {version()} needs {wants}")


def program() -> Path:
    """The executable, after building it where it is not there. Raises Unavailable."""
    key = hashlib.sha256(b"".join((SOURCE / f).read_bytes() for f in FILES)).hexdigest()[:12]
    path = cache_dir() / f"telegraf-{key}"
    if path.exists():
        return path
    _check_go()
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"   building Telegraf {version()} (minutes, once)", flush=True)
    temp = path.with_suffix(".part")
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(temp), "."]
    env = os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    done = subprocess.run(command, cwd=SOURCE, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"Telegraf did not build: {done.stderr.strip().splitlines()[-1:]}")
    temp.rename(path)
    return path
