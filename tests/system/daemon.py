"""A penstockd under test, and the programs that talk to it."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Config = dict[str, Any]


class CommandFailed(AssertionError):
    pass


def free_udp_port() -> int:
    """Below those that the kernel hands out: nobody gets it while a daemon is down for a moment."""
    while True:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Daemon:
    """One state directory, config and API socket; the process may come and go.

    Stopped by stop() it must have a closed ledger: settle() says so and `penstockd` (the fixture)
    asks for it at the end of each test.
    """

    def __init__(self, build: Path, folder: Path, config: Config) -> None:
        self.build = build
        self.folder = folder
        self.config = config
        self.config_path = folder / "penstock.yaml"
        self.log_path = folder / "penstockd.log"
        self.socket_path = Path(config["api"]["socket"])
        self.process: subprocess.Popen[bytes] | None = None
        self.write_config()

    def write_config(self) -> None:
        """JSON is YAML."""
        self.config_path.write_text(json.dumps(self.config, indent=2))

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self, env: dict[str, str] | None = None, under: Iterable[str] = ()) -> None:
        """Starts the process, by the command `under`, and does not wait until it is ready."""
        assert not self.running
        command = [*under, str(self.build / "control" / "penstockd"), str(self.config_path)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
            )

    def start(self, timeout_s: float = 20, env: dict[str, str] | None = None) -> None:
        """Returns once the API answers, which is after recovery and after all inputs are open."""
        self.spawn(env)
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(OSError, CommandFailed):
                if self.socket_path.exists():
                    self.ask("status")
                    return
            time.sleep(0.02)
        if self.running:
            self.kill()
        raise AssertionError(f"penstockd did not get ready:\n{self.log[-4000:]}")

    def wait(self, timeout_s: float = 30) -> int:
        """Exit status of a process that ends by itself."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = 30) -> None:
        """An orderly end by SIGTERM; anything but exit status 0 is a failure of the test."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"penstockd did not stop:\n{self.log[-4000:]}") from None
        self.process = None
        assert status == 0, f"penstockd ended with {status}:\n{self.log[-4000:]}"

    def kill(self) -> None:
        """kill -9: what a power cut leaves, but for the page cache."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def penstock(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line client on this daemon; the caller judges the exit status."""
        command = [str(self.build / "control" / "penstock"), *args]
        env = {**os.environ, "PENSTOCK_SOCKET": str(self.socket_path)}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=env, cwd=self.folder
        )

    def ask(self, *args: str) -> Any:  # noqa: ANN401 - whatever the command's JSON holds
        """What `penstock ARGS --json` prints; a failure of the command is one of the test."""
        done = self.penstock(*args, "--json")
        if done.returncode != 0:
            text = f"penstock {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}"
            raise CommandFailed(text)
        return json.loads(done.stdout)

    def settle(self, timeout_s: float = 30) -> Any:  # noqa: ANN401
        """The ledger once nothing is in flight, its sums checked by `penstock ledger` itself."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.ask("ledger", "--settle")
            except CommandFailed:
                if not self.running or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def received(self, datagrams: int, timeout_s: float = 20) -> Any:  # noqa: ANN401
        """The settled ledger once that many have come in; settled alone says nothing of those
        that still wait in the socket."""
        ledger: dict[str, Any] = {}

        def enough() -> bool:
            ledger.update(self.ask("ledger"))
            return ledger["datagrams"]["received"] >= datagrams

        try:
            wait_until(f"{datagrams} datagrams received", enough, timeout_s)
        except AssertionError as e:
            counts, lost = ledger["datagrams"], ledger["lost_before_us"]
            raise AssertionError(f"{e}: {counts}, lost before us: {lost}") from None
        return self.settle()

    def quiet(self) -> Any:  # noqa: ANN401
        """The settled ledger once nothing more has come in for half a second."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 0.5:
            now = self.ask("ledger")["datagrams"]["received"]
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)
        return self.settle()

    def delivered(self, *outputs: str, timeout_s: float = 30) -> Any:  # noqa: ANN401
        """The settled ledger once these outputs (all, when none is named) have had everything."""
        ledger: dict[str, Any] = {}

        def nothing_left() -> bool:
            ledger.update(self.settle())
            taken = (o for o in ledger["outputs"] if not outputs or o["name"] in outputs)
            return all(o["spooled"] == 0 for o in taken)

        try:
            wait_until("everything delivered", nothing_left, timeout_s)
        except AssertionError as e:
            raise AssertionError(f"{e}: {ledger['outputs']}") from None
        return ledger

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def udp_address(self, index: int = 0) -> tuple[str, int]:
        host, port = self.config["inputs"][index]["listen"].rsplit(":", 1)
        return host, int(port)

    def send(self, datagrams: Iterable[bytes], index: int = 0) -> int:
        """Sends to an input, as fast as it goes, and returns how many."""
        count = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for datagram in datagrams:
                s.sendto(datagram, self.udp_address(index))
                count += 1
        return count


def wait_until(what: str, check: Any, timeout_s: float = 20) -> Any:  # noqa: ANN401
    """Result of check() as soon as it is true; fails, naming `what`, when it stays false."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"after {timeout_s} s still not: {what}"
        time.sleep(0.05)
