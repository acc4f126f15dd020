"""What the models said of the devices whose truth is known, against that truth."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from summary import record_files

Json = dict[str, Any]
Key = tuple[str, int, int, int]  # sensor, boot, sequence, index

# As in the recipe: in sigma of the sensor's own noise (models/recipes/sensors/faults.py).
CLASSES = ("ok", "degraded", "faulty")
DEGRADED_FROM, FAULTY_FROM = 0.5, 3.0
# The longest window: so long an event is in what the models see.
EVENT_TAIL_S = 300


@dataclass
class Truth:
    """Of one reading of which something is known; others are ok."""

    status: int = 0
    anomaly: bool = False


@dataclass
class Judged:
    """What the summary tells of the models."""

    readings: int = 0
    unscored: int = 0  # of these: one of the models says nothing
    during_events: int = 0  # in neither of the two below
    said: Counter[tuple[int, int]] = field(default_factory=Counter)  # (truth, class) of status
    events: int = 0
    events_found: int = 0
    anomaly: Counter[tuple[bool, bool]] = field(default_factory=Counter)  # (truth, said)
    squares: float = 0  # of humidity's errors, where nothing is broken
    humidity: list[float] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        return sum(self.said.values())

    @property
    def accuracy(self) -> float:
        return sum(n for (a, b), n in self.said.items() if a == b) / max(self.judged, 1)

    @property
    def majority(self) -> float:
        by_class = Counter[int]()
        for (truth, _), n in self.said.items():
            by_class[truth] += n
        return max(by_class.values(), default=0) / max(self.judged, 1)

    @property
    def not_ok(self) -> tuple[int, int]:
        """Broken readings, and those of them that the model calls broken."""
        broken = [(said, n) for (truth, said), n in self.said.items() if truth]
        return sum(n for _, n in broken), sum(n for said, n in broken if said)

    @property
    def false_alarms(self) -> int:
        return sum(n for (truth, said), n in self.said.items() if said and not truth)

    @property
    def anomaly_accuracy(self) -> float:
        right = sum(n for (a, b), n in self.anomaly.items() if a == b)
        return right / max(sum(self.anomaly.values()), 1)

    @property
    def never(self) -> float:
        """Accuracy of never calling anything an anomaly."""
        total = sum(self.anomaly.values())
        return sum(n for (a, _), n in self.anomaly.items() if not a) / max(total, 1)

    @property
    def rmse(self) -> float:
        return math.sqrt(self.squares / max(len(self.humidity), 1))

    @property
    def spread(self) -> float:
        """RMSE of the best constant, which knows these very readings."""
        mean = sum(self.humidity) / max(len(self.humidity), 1)
        squares = sum((v - mean) ** 2 for v in self.humidity)
        return math.sqrt(squares / max(len(self.humidity), 1))


def read_labels(path: Path) -> dict[Key, Truth]:
    """The label file of penstock-sim (docs/penstock-sim.md)."""
    found: dict[Key, Truth] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["sensor"], int(row["boot"]), int(row["seq"]), int(row["index"])
            truth = found.setdefault(key, Truth())
            if row["fault"] == "recorded":
                truth.anomaly = True
                continue
            off = float(row["off_sigma"])
            status = 2 if off >= FAULTY_FROM else 1 if off >= DEGRADED_FROM else 0
            truth.status = max(truth.status, status)
    return found


def readings_of(path: Path, prefix: str) -> Iterator[Json]:
    """Records of the sensors so named, in the order of the log."""
    mark = f'"sensor":"{prefix}'.encode()
    for part in record_files(path):
        with part.open("rb") as file:
            for line in file:
                if mark in line:
                    record = json.loads(line)
                    if record["kind"] == "reading":
                        yield record


class _Events:
    """Labelled events by sensor: where one begins, whether it was found, when it has gone by."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        self.open: dict[str, int] = {}  # index into found
        self.found: list[bool] = []

    def take(self, sensor: str, at_s: float, truth: bool, said: bool) -> bool:
        """Of the sensor's next reading: whether an event is on, or not yet out of the windows."""
        if truth:
            if sensor not in self.open:
                self.open[sensor] = len(self.found)
                self.found.append(False)
            self.found[self.open[sensor]] |= said
            self.until[sensor] = at_s + EVENT_TAIL_S
        else:
            self.open.pop(sensor, None)
        return at_s < self.until.get(sensor, 0)


def judge(records: Path, labels: Path, prefix: str) -> Judged:
    truths, found, events = read_labels(labels), Judged(), _Events()
    for r in readings_of(records, prefix):
        truth = truths.get((r["sensor"], r["boot"], r["seq"], r["index"]), Truth())
        scores = r.get("scores", {})
        found.readings += 1
        found.versions |= {name: s["version"] for name, s in scores.items()}
        status, anomaly, humidity = (scores.get(n, {}) for n in ("status", "anomaly", "humidity"))
        if "class" not in status or "class" not in anomaly or "value" not in humidity:
            found.unscored += 1
            continue
        said = bool(anomaly["class"])
        found.anomaly[truth.anomaly, said] += 1
        at_s = datetime.fromisoformat(r["@timestamp"]).timestamp()
        if events.take(r["sensor"], at_s, truth.anomaly, said):
            found.during_events += 1
            continue
        found.said[truth.status, status["class"]] += 1
        if not truth.status and "humidity" in r["values"]:
            found.humidity.append(r["values"]["humidity"])
            found.squares += (humidity["value"] - r["values"]["humidity"]) ** 2
    found.events, found.events_found = len(events.found), sum(events.found)
    return found
