"""
Who is trained on and who is judged on, for all three models alike. By sensor, never by row:
neighbouring rows of one sensor are nearly equal, and so are those of one event.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .data import NS, SHIPPED_SKIPS, Sensor

TRAIN, TEST, OUTSIDE = "train", "test", "outside"

# Every fourth sensor of the large sets. Of the labelled motes one indoors and one outdoors each:
# both kinds are known to the models, and each side has one of the two events.
EVERY, REMAINDER = 4, 2
LABELLED_TEST = ("wsn-labelled/2", "wsn-labelled/4")
LONGEST_WINDOW_NS = 300 * NS
SHIPPED_FILES = {
    "wsn-labelled/1": "indoor_moteid1.csv",
    "wsn-labelled/2": "indoor_moteid2.csv",
    "wsn-labelled/3": "outdoor_moteid3.csv",
    "wsn-labelled/4": "outdoor_moteid4.csv",
}


@dataclass(frozen=True)
class Event:
    """A run of rows that the set's author labelled."""

    sensor: str
    deployment: str
    first_row: int
    last_row: int
    side: str


def side_of(sensor_id: str) -> str:
    """OUTSIDE: a building that no training row came from."""
    name, _, number = sensor_id.partition("/")
    if name == "occupancy":
        return OUTSIDE
    if name == "wsn-labelled":
        return TEST if sensor_id in LABELLED_TEST else TRAIN
    return TEST if int(number) % EVERY == REMAINDER else TRAIN


def of_side(sensors: list[Sensor], side: str) -> list[Sensor]:
    return [s for s in sensors if side_of(s.id) == side]


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) of each run of true values."""
    edges = np.diff(np.concatenate(([0], (np.asarray(flags) != 0).astype(np.int8), [0])))
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b) - 1) for a, b in zip(firsts, ends, strict=True)]


def while_windows_hold(sensor: Sensor) -> np.ndarray:
    """Rows of an event, and those for which a window of five minutes still has one of it."""
    near = np.zeros(len(sensor), bool)
    for first, last in runs(sensor.label):
        end = np.searchsorted(sensor.event_ns, sensor.event_ns[last] + LONGEST_WINDOW_NS)
        near[first:end] = True
    return near


def events(sensors: list[Sensor]) -> list[Event]:
    return [
        Event(s.id, s.deployment, int(s.row[a]), int(s.row[b]), side_of(s.id))
        for s in sensors
        for a, b in runs(s.label)
    ]


def _demo(sensors: list[Sensor]) -> list[dict[str, Any]]:
    """Rows of the shipped files (counted from 0, behind the header) that no model has seen."""
    found = []
    for s in sensors:
        if s.id not in SHIPPED_FILES or side_of(s.id) != TEST:
            continue
        shipped = (s.row >= SHIPPED_SKIPS) & (s.row < SHIPPED_SKIPS + 3300)
        rows, label = s.row[shipped] - SHIPPED_SKIPS, s.label[shipped]
        labelled = [[int(rows[a]), int(rows[b])] for a, b in runs(label)]
        found.append(
            {
                "file": f"firmware-sim/data/{SHIPPED_FILES[s.id]}",
                "sensor": s.id,
                "rows": [int(rows[0]), int(rows[-1])],
                "labelled_rows": labelled,
            }
        )
    return found


def describe(sensors: list[Sensor]) -> dict[str, Any]:
    """split.json: rows are the sensor's readings in the set's own files, from 0, ends included."""
    rows = [
        {
            "sensor": s.id,
            "deployment": s.deployment,
            "rows": [int(s.row[0]), int(s.row[-1])],
            "split": side_of(s.id),
        }
        for s in sensors
    ]
    return {
        "rule": f"whole sensors; test where the number leaves {REMAINDER} at division by {EVERY}, "
        f"and {', '.join(LABELLED_TEST)}; occupancy is outside: judged on, never trained on",
        "sensors": rows,
        "events": [vars(e) for e in events(sensors)],
        "demo": {
            "may_stream": _demo(sensors),
            "must_not_stream": [
                f"firmware-sim/data/{name}"
                for key, name in SHIPPED_FILES.items()
                if side_of(key) == TRAIN
            ],
        },
    }
