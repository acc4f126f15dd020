"""Loads the public sets into one form: the readings of each sensor, in order of arrival."""

import csv
import gzip
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIELDS = ("temperature", "humidity", "voltage", "light")
TEMPERATURE, HUMIDITY, VOLTAGE, LIGHT = range(len(FIELDS))

NS = 1_000_000_000
MINUTE_NS = 60 * NS

# Smallest step of a field in the set's files: what its converter, or its author's rounding, left.
RESOLUTION = {
    "intel-lab": (0.1, 0.1, 0.01, 1.0),
    "library1": (0.01, 0.01, 0.01, 1.0),
    "library2": (0.01, 0.01, 0.01, 1.0),
    "wsn-labelled": (0.01, 0.01, 0.01, 1.0),
    "occupancy": (0.01, 0.01, 0.01, 1.0),
}

# Two sets say how often they were read and on which day, but not at what hour; nothing that is
# learned may rest on these (report: leaks).
INTEL_START = datetime(2004, 3, 1, tzinfo=UTC)
LABELLED_START = datetime(2010, 5, 9, 9, tzinfo=UTC)
# Readings of the labelled set that come before the first row of the shipped files.
SHIPPED_SKIPS = 300


@dataclass(frozen=True)
class Sensor:
    """One sensor in one deployment. Arrays have a row a reading."""

    id: str  # names the piece of hardware: equal in two deployments that used it twice
    deployment: str
    period_s: float  # median, of the readings as they are here
    event_ns: NDArray[np.int64]
    values: NDArray[np.float32]  # [rows, FIELDS]; NaN = missing
    label: NDArray[np.uint8]  # 1 = anomaly, says the set's author
    row: NDArray[np.int64]  # reading's number within the sensor in the set's own files, from 0

    def __len__(self) -> int:
        return len(self.event_ns)

    @property
    def resolution(self) -> NDArray[np.float64]:
        return np.array(RESOLUTION[self.deployment])

    @property
    def there(self) -> NDArray[np.bool_]:
        """[FIELDS]: is it measured?"""
        return np.isfinite(self.values).any(axis=0)

    @property
    def days(self) -> float:
        """Time that it was heard: what false alarms are counted against."""
        return len(self) * self.period_s / 86400


def _start_ns(start: datetime) -> int:
    return int(start.timestamp()) * NS


def _sensor(
    name: str,
    deployment: str,
    event_ns: NDArray[np.int64],
    values: NDArray[np.float32],
    label: NDArray[np.uint8] | None = None,
    first_row: int = 0,
) -> Sensor:
    rows = len(event_ns)
    period_s = float(np.median(np.diff(event_ns))) / NS if rows > 1 else 0.0
    return Sensor(
        id=name,
        deployment=deployment,
        period_s=period_s,
        event_ns=event_ns.astype(np.int64),
        values=values.astype(np.float32),
        label=np.zeros(rows, np.uint8) if label is None else label.astype(np.uint8),
        row=np.arange(first_row, first_row + rows, dtype=np.int64),
    )


def _missing(rows: int) -> NDArray[np.float32]:
    return np.full((rows, len(FIELDS)), np.nan, np.float32)


def load_intel(folder: Path) -> list[Sensor]:
    """A file a field, a row a mote, a column a half hour; an unreadable cell is missing."""
    fields = {}
    for field in ("temperature", "humidity"):
        lines = next(folder.glob(f"{field}_steps_*.csv")).read_text().splitlines()
        fields[field] = np.genfromtxt(lines, delimiter=",", dtype=np.float64, ndmin=2)
    motes, steps = fields["temperature"].shape
    event_ns = _start_ns(INTEL_START) + np.arange(steps, dtype=np.int64) * 30 * MINUTE_NS
    sensors = []
    for mote in range(motes):
        values = _missing(steps)
        values[:, TEMPERATURE] = fields["temperature"][mote]
        values[:, HUMIDITY] = fields["humidity"][mote]
        sensors.append(_sensor(f"intel-lab/{mote + 1}", "intel-lab", event_ns, values))
    return sensors


def plain_number(cell: bytes) -> float:
    """Decimal comma; a Latin-1 hard space between thousands. NaN where there is no number."""
    try:
        return float(cell.replace(b"\xa0", b"").replace(b",", b"."))
    except ValueError:
        return float("nan")


def parse_library(text: bytes) -> dict[int, list[list[float]]]:
    """Rows of nine numbers by node, in order of arrival; packets that came twice only once."""
    nodes: dict[int, list[list[float]]] = {}
    seen = set()
    for line in text.splitlines():
        row = [plain_number(cell) for cell in line.split(b" ")]
        key = tuple(row[:3])
        if len(row) != 9 or not all(np.isfinite(key)) or key in seen:
            continue
        seen.add(key)
        nodes.setdefault(int(row[1]), []).append(row)
    return nodes


def load_library(folder: Path) -> list[Sensor]:
    """Both deployments used the same nodes, so a node has one id in both."""
    sensors = []
    for deployment in ("library1", "library2"):
        path = next(folder.glob(f"{deployment}_readings.txt*"))
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for node, rows in sorted(parse_library(text).items()):
            table = np.array(rows)
            values = _missing(len(rows))
            values[:, TEMPERATURE] = table[:, 6]
            values[:, HUMIDITY] = table[:, 5]
            values[:, VOLTAGE] = table[:, 4]
            values[:, LIGHT] = table[:, 7]
            event_ns = table[:, 0].astype(np.int64) * 1_000_000
            sensors.append(_sensor(f"wsn-library/{node}", deployment, event_ns, values))
    return sensors


def _labelled(mote: int, table: NDArray[np.float64], first_row: int = 0) -> Sensor:
    """table: temperature, humidity, label, a row each five seconds."""
    values = _missing(len(table))
    values[:, TEMPERATURE] = table[:, 0]
    values[:, HUMIDITY] = table[:, 1]
    number = first_row + np.arange(len(table), dtype=np.int64)
    event_ns = _start_ns(LABELLED_START) + number * 5 * NS
    return _sensor(
        f"wsn-labelled/{mote}", "wsn-labelled", event_ns, values, table[:, 2] != 0, first_row
    )


def load_labelled(folder: Path) -> list[Sensor]:
    """As its authors publish it: reading number, mote, humidity, temperature, label."""
    sensors = []
    for path in sorted(folder.glob("singlehop/*_data.txt")):
        table = np.loadtxt(path, skiprows=1, ndmin=2)
        for mote in np.unique(table[:, 1]):
            of_mote = table[table[:, 1] == mote]
            sensors.append(_labelled(int(mote), of_mote[:, [3, 2, 4]]))
    return sensors


def load_shipped(folder: Path) -> list[Sensor]:
    """What firmware-sim/data has of the labelled set; rows are numbered as in the set itself."""
    sensors = []
    for path in sorted(folder.glob("*_moteid*.csv")):
        with path.open(newline="") as file:
            lines = csv.DictReader(line for line in file if not line.startswith("#"))
            rows = [
                [float(r[c]) for c in ("mote", "temperature", "humidity", "label")] for r in lines
            ]
        table = np.array(rows)
        sensors.append(_labelled(int(table[0, 0]), table[:, 1:], SHIPPED_SKIPS))
    return sensors


def load_occupancy(folder: Path) -> list[Sensor]:
    """One office sensor, two stretches of days; each is a sensor of its own, both of one id."""
    sensors = []
    for name in ("datatraining.txt", "datatest.txt"):
        with (folder / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        times = [datetime.fromisoformat(r[1]).replace(tzinfo=UTC) for r in rows]
        values = _missing(len(rows))
        for field, column in ((TEMPERATURE, 2), (HUMIDITY, 3), (LIGHT, 4)):
            values[:, field] = [float(r[column]) for r in rows]
        event_ns = np.array([int(t.timestamp()) * NS for t in times], dtype=np.int64)
        sensors.append(_sensor("occupancy/1", "occupancy", event_ns, values))
    return sensors


LOADERS = {
    "intel-lab": load_intel,
    "wsn-library": load_library,
    "wsn-labelled": load_labelled,
    "occupancy": load_occupancy,
}

FILES = {
    "intel-lab": ("*_steps_*.csv",),
    "wsn-library": ("*_readings.txt*",),
    "wsn-labelled": ("singlehop/*_data.txt",),
    "occupancy": ("datatraining.txt", "datatest.txt"),
    "shipped": ("*_moteid*.csv",),
}

CREDITS = {
    "intel-lab": "Intel Research Berkeley lab readings of 2004 (Bodik, Hong, Guestrin, Madden, "
    "Paskin, Thibaux); no formal licence, credit asked for",
    "wsn-library": "sensorNet library deployments of 2006, machine learning group, Universite "
    "libre de Bruxelles; published for download, no licence stated",
    "wsn-labelled": "Suthaharan, Alzahrani, Rajasegarar, Leckie, Palaniswami 2010, via stdlib; "
    "ODC-BY 1.0 (data), CC BY 4.0 (contents)",
    "occupancy": "Candanedo and Feldheim 2016, Occupancy Detection (UCI)",
}
CREDITS["shipped"] = CREDITS["wsn-labelled"] + "; the part in firmware-sim/data"


def load(folder: Path, shipped: Path) -> tuple[list[Sensor], dict[str, Path]]:
    """Sensors and, by set, the folder they came from: of all sets below folder that are there."""
    places = {name: folder / name for name in LOADERS if (folder / name).is_dir()}
    sensors = [s for name, place in places.items() for s in LOADERS[name](place)]
    if "wsn-labelled" not in places:
        places["shipped"] = shipped
        sensors += load_shipped(shipped)
    return sensors, places


def digests(places: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of every file that was read, by SET/NAME."""
    found = {}
    for name, folder in sorted(places.items()):
        for pattern in FILES[name]:
            for path in sorted(folder.glob(pattern)):
                found[f"{name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def thinned(sensor: Sensor, every: int) -> Sensor:
    """The same sensor, had it been read less often."""
    return replace(
        sensor,
        period_s=sensor.period_s * every,
        event_ns=sensor.event_ns[::every],
        values=sensor.values[::every],
        label=sensor.label[::every],
        row=sensor.row[::every],
    )
