"""
Copies of a recorded event on other sensors. The labelled set has two events, and one of them is
held out: from the other alone a model learns its shape, its mote and its hour as well as what an
event is. A copy is what the event added to its mote's own course, made smaller or larger, quicker
or slower, and added to that of another sensor at another time.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .data import HUMIDITY, NS, TEMPERATURE, Sensor
from .split import runs

SIDE_ROWS = 12  # before and after an event: what the mote's own course is drawn between
CLIMATE = (TEMPERATURE, HUMIDITY)


@dataclass(frozen=True)
class Shape:
    """What an event added, over seconds since it began."""

    time_s: NDArray[np.float64]
    added: NDArray[np.float64]  # [rows, CLIMATE]

    @property
    def seconds(self) -> float:
        return float(self.time_s[-1])


def shapes(sensor: Sensor) -> list[Shape]:
    found = []
    for first, last in runs(sensor.label):
        rows = np.arange(first, last + 1)
        time_s = (sensor.event_ns[rows] - sensor.event_ns[first]) / NS
        added = np.empty((len(rows), len(CLIMATE)))
        for k, field in enumerate(CLIMATE):
            values = sensor.values[:, field].astype(np.float64)
            before = float(np.nanmean(values[max(first - SIDE_ROWS, 0) : first]))
            after = float(np.nanmean(values[last + 1 : last + 1 + SIDE_ROWS]))
            course = np.interp(time_s, [time_s[0], time_s[-1]], [before, after])
            added[:, k] = values[rows] - course
        found.append(Shape(time_s, added))
    return found


def onto(host: Sensor, shape: Shape, start_row: int, size: float, stretch: float) -> Sensor | None:
    """The host with a copy from start_row on; None where that is too short or touches an event."""
    seconds = shape.seconds * stretch
    since_s = (host.event_ns - host.event_ns[start_row]) / NS
    rows = np.flatnonzero((since_s >= 0) & (since_s <= seconds))
    margin = slice(max(rows[0] - SIDE_ROWS, 0), rows[-1] + SIDE_ROWS)
    whole = since_s[-1] >= seconds and len(rows) >= 3
    if not whole or host.label[margin].any():
        return None
    values, label = host.values.copy(), host.label.copy()
    for k, field in enumerate(CLIMATE):
        added = np.interp(since_s[rows] / stretch, shape.time_s, shape.added[:, k])
        grid = host.resolution[field]
        values[rows, field] = np.round((values[rows, field] + size * added) / grid) * grid
    values[rows, HUMIDITY] = np.clip(values[rows, HUMIDITY], 0, 100)
    label[rows] = 1
    return replace(host, values=values, label=label)


def copies(
    host: Sensor, shapes_known: list[Shape], count: int, rng: np.random.Generator
) -> list[Sensor]:
    """`count` copies of each shape where they fit, each on a host of its own."""
    found = []
    for shape in shapes_known:
        for _ in range(count):
            start = int(rng.integers(SIDE_ROWS, max(len(host) - SIDE_ROWS, SIDE_ROWS + 1)))
            size, stretch = rng.uniform(0.3, 1.2), rng.uniform(0.5, 2.0)
            made = onto(host, shape, min(start, len(host) - 1), size, stretch)
            found += [made] if made is not None else []
    return found
