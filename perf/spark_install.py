"""Spark of the bench: a Python environment of its own and its jars, made once, kept per user."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from places import ROOT, Unavailable, cache_dir, fetch

SOURCE = ROOT / "perf" / "peers" / "spark"
PINS = SOURCE / "requirements.txt"


def version() -> str:
    pins = dict(line.split("==") for line in PINS.read_text().split())
    return pins["pyspark"]


def python() -> Path:
    """The interpreter of the environment, after making it where it is not there."""
    key = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache_dir() / f"spark-venv-{key}"
    if home.is_dir():
        return home / "bin" / "python"
    cache_dir().mkdir(parents=True, exist_ok=True)
    print(f"   installing Spark {version()} (minutes and 0.7 GiB, once)", flush=True)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as temp:
        made = Path(temp) / "venv"
        install = [str(made / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(PINS)]
        for command in ([sys.executable, "-m", "venv", str(made)], install):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                why = done.stderr.strip().splitlines()[-1:]
                raise Unavailable(f"Spark did not install: {why}")
        os.rename(made, home)
    return home / "bin" / "python"


def jars() -> Path:
    """The connector's; Spark brings its own."""
    try:
        return fetch(SOURCE / "pom.xml")
    except (OSError, subprocess.CalledProcessError, RuntimeError) as why:
        raise Unavailable(f"no connector for Kafka: {why}") from None


def check_java() -> None:
    if shutil.which("java") is None:
        raise Unavailable("no Java here")
