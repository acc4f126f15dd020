"""A steady sender of numbered readings that goes on whatever happens to the daemon."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wire import binary, reading, text

BOOT = 7
PORTS = 4


class Sender(threading.Thread):
    """`sensors` devices in turn, `rate` datagrams a second together, until it is told to stop."""

    def __init__(
        self, address: tuple[str, int], rate: float, sensors: int = 20, form: str = "json"
    ) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.rate = rate
        self.names = [f"device-{i}" for i in range(sensors)]
        self.form = form
        self.sent = 0
        self._end = threading.Event()

    def datagram(self, sensor: str, sequence: int) -> bytes:
        temperature = 20 + sequence % 10 / 10
        if self.form == "json":
            return text(reading(sensor, sequence, BOOT, temperature=temperature, humidity=40))
        return binary(sensor, [[temperature, 40.0]], number=(BOOT, sequence))

    def run(self) -> None:
        begin = time.monotonic()
        # A device keeps its port, so that the kernel keeps its datagrams in order.
        with ExitStack() as stack:
            ports = [
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in range(PORTS)
            ]
            while not self._end.is_set():
                due = int((time.monotonic() - begin) * self.rate) - self.sent
                for _ in range(min(due, 200)):
                    turn, which = divmod(self.sent, len(self.names))
                    datagram = self.datagram(self.names[which], turn)
                    ports[which % PORTS].sendto(datagram, self.address)
                    self.sent += 1
                time.sleep(0.002)

    def finish(self) -> dict[str, int]:
        """Stops; how many each sensor has sent, numbered from 0."""
        self._end.set()
        self.join()
        each, more = divmod(self.sent, len(self.names))
        return {name: each + (i < more) for i, name in enumerate(self.names)}


@contextmanager
def sending(
    address: tuple[str, int], rate: float, sensors: int = 20, form: str = "json"
) -> Iterator[Sender]:
    sender = Sender(address, rate, sensors, form)
    sender.start()
    try:
        yield sender
    finally:
        sender.finish()
