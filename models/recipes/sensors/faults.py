"""
Faults as firmware-sim/fault.c makes them, in multiples of the sensor's own noise, with the truth.

Two things are done to them that fault.c leaves to the wire format. A faulty value is rounded to
the sensor's own resolution: a converter stands behind the fault, and a value off its grid would
give the fault away whatever its size. And the noise of a sensor is never less than its resolution.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .data import FIELDS, HUMIDITY, TEMPERATURE, VOLTAGE, Sensor

KINDS = ("stuck", "drift", "spike", "noise", "battery")
STRENGTHS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
# Gross ones: trained on small ones alone, trees learn that whatever is wilder is weather.
GROSS = (12.0, 25.0, 50.0, 100.0)
CLASSES = ("ok", "degraded", "faulty")
OK, DEGRADED, FAULTY = range(len(CLASSES))

# In sigma. Below the first a deviation is within what the sensor does anyway; from the second on
# a reading is no longer worth having.
DEGRADED_FROM, FAULTY_FROM = 0.5, 3.0
# An episode lasts so long, and so many readings at least, whatever the sensor's period: from one to
# four of the longest windows, for what is over sooner than a window is hardly in it.
EPISODE_S, EPISODE_READINGS = (300, 1200), (12, 36)


@dataclass(frozen=True)
class Episode:
    kind: str
    field: int
    strength: float  # sigma; of no meaning for stuck
    first: int  # rows of the sensor, `end` is behind the last
    end: int


@dataclass(frozen=True)
class Injected:
    values: NDArray[np.float32]
    truth: NDArray[np.uint8]  # of CLASSES
    episode: NDArray[np.int32]  # index into episodes, -1 outside
    episodes: list[Episode]


def noise_sigma(sensor: Sensor) -> NDArray[np.float64]:
    """Per field: 1.4826 MAD of the steps / sqrt(2) (signal_load.c), at least the resolution."""
    sigma = np.full(len(FIELDS), np.nan)
    for field in range(len(FIELDS)):
        values = sensor.values[:, field].astype(np.float64)
        steps = np.abs(np.diff(values))
        steps = steps[np.isfinite(steps)]
        if len(steps):
            own = 1.4826 * float(np.median(steps)) / np.sqrt(2)
            sigma[field] = max(own, sensor.resolution[field])
    return sigma


def _combinations(sensor: Sensor, strengths: tuple[float, ...]) -> list[tuple[str, int, float]]:
    """Every fault that the sensor can have: climate fields, and the battery where it is known."""
    climate = [f for f in (TEMPERATURE, HUMIDITY) if sensor.there[f]]
    found = []
    for field in climate:
        for kind in ("drift", "spike", "noise"):
            found += [(kind, field, k) for k in strengths]
        found += [("stuck", field, 0.0)] * (len(strengths) // 2)  # else too rare beside those
    if sensor.there[VOLTAGE]:
        found += [("battery", VOLTAGE, k) for k in strengths]
    return found


def episode_lengths(sensor: Sensor) -> tuple[int, int]:
    """Readings of the shortest and of the longest episode."""
    readings = (round(s / max(sensor.period_s, 0.001)) for s in EPISODE_S)
    short, long = (max(n, least) for n, least in zip(readings, EPISODE_READINGS, strict=True))
    return short, long


def plan(
    sensor: Sensor,
    rng: np.random.Generator,
    calm: tuple[float, float],
    strengths: tuple[float, ...] = STRENGTHS,
) -> list[Episode]:
    """
    Episodes over the whole sensor, all kinds in turn in random order; before each a pause of
    calm[0] to calm[1] times its length.
    """
    every, (short, long) = _combinations(sensor, strengths), episode_lengths(sensor)
    deck: list[tuple[str, int, float]] = []
    episodes, at = [], 0
    while True:
        length = int(rng.integers(short, long + 1))
        at += int(length * rng.uniform(*calm))
        deck = deck or [every[i] for i in rng.permutation(len(every))]
        if at + length > len(sensor) or not deck:
            return episodes
        kind, field, strength = deck.pop()
        rows = 1 if kind == "spike" else length  # fault.c: only the first reading is off
        episodes.append(Episode(kind, field, strength, at, at + rows))
        at += rows


def _faulty(
    values: NDArray[np.float64], e: Episode, sigma: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of an episode and by how many sigma the sensor is off at each, as fault.c says."""
    n = len(values)
    progress = np.arange(n) / n
    if e.kind == "stuck":
        off = np.full(n, np.inf)
        off[0] = 0  # the first value is true
        return np.full(n, values[0]), off
    if e.kind == "drift":
        return values + e.strength * sigma * progress, e.strength * progress
    if e.kind == "battery":
        return np.maximum(values - e.strength * sigma * progress, 0), e.strength * progress
    if e.kind == "spike":
        sign = 1 if rng.random() < 0.5 else -1
        return values + sign * e.strength * sigma, np.full(n, e.strength)
    return values + e.strength * sigma * rng.standard_normal(n), np.full(n, e.strength)


def _truth(off: NDArray[np.float64]) -> NDArray[np.uint8]:
    truth = np.where(off >= FAULTY_FROM, FAULTY, np.where(off >= DEGRADED_FROM, DEGRADED, OK))
    return truth.astype(np.uint8)


def inject(sensor: Sensor, episodes: list[Episode], rng: np.random.Generator) -> Injected:
    values = sensor.values.copy()
    truth = np.zeros(len(sensor), np.uint8)
    which = np.full(len(sensor), -1, np.int32)
    sigma, grid = noise_sigma(sensor), sensor.resolution
    for index, e in enumerate(episodes):
        rows = np.arange(e.first, e.end)
        rows = rows[np.isfinite(sensor.values[rows, e.field])]
        if not len(rows):
            continue
        clean = sensor.values[rows, e.field].astype(np.float64)
        broken, off = _faulty(clean, e, sigma[e.field], rng)
        values[rows, e.field] = np.round(broken / grid[e.field]) * grid[e.field]
        truth[rows] = _truth(off)
        which[rows] = index
    return Injected(values, truth, which, episodes)
