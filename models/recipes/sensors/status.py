"""ok / degraded / faulty of a sensor: random forest on real readings with injected faults."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold

from . import faults, inputs, metrics
from .data import FIELDS, HUMIDITY, TEMPERATURE, Sensor, thinned
from .faults import CLASSES, OK, Injected
from .split import while_windows_hold

TREES, DEPTH, SEED = 20, 5, 20240501
# Times that each sensor is broken, each time otherwise; more where a set is small.
PASSES = {"wsn-labelled": 16, "intel-lab": 10}
PASSES_OF_OTHERS = 4
# Calm before an episode, in lengths of it: one row of seven is not ok.
CALM = (1.0, 5.0)
# Each set is also read less often than it was, else the period would name the set.
THINNED = {"wsn-labelled": (1, 6, 12), "library1": (1, 5), "library2": (1, 5)}

# Nothing here says how warm or how humid it is, only how that moves: levels name the sensor.
_MOVES = ("delta({0})", "zscore({0},5m)", "std({0},5m)", "slope({0},5m)")
_COUNTS = ("count(temperature,5m)", "count(temperature,30s)")
_BATTERY = ("delta(voltage)", "zscore(voltage,5m)", "std(voltage,5m)", "slope(voltage,5m)")


def _of(patterns: Iterable[str]) -> list[str]:
    return [p.format(f) for f in ("temperature", "humidity") for p in patterns]


INPUT_SETS = {
    "5m": [*_of(_MOVES), *_BATTERY, _COUNTS[0]],
    "5m, std of 30s": [*_of((*_MOVES, "std({0},30s)")), *_BATTERY, *_COUNTS],
}
ALL_INPUTS = list(dict.fromkeys(e for s in INPUT_SETS.values() for e in s))


@dataclass(frozen=True)
class View:
    """One sensor, read at one period, broken once (or not at all)."""

    sensor: Sensor
    injected: Injected
    x: NDArray[np.float32]  # [rows, ALL_INPUTS]
    kept: NDArray[np.bool_]  # false during a labelled event and while windows hold it


@dataclass(frozen=True)
class Choice:
    input_set: str
    ok_weight: float  # of a row of class ok; others have 1

    @property
    def inputs(self) -> list[str]:
        return INPUT_SETS[self.input_set]

    @property
    def columns(self) -> list[int]:
        return [ALL_INPUTS.index(e) for e in self.inputs]


CHOICES = [Choice(name, ok) for name in INPUT_SETS for ok in (0.25, 0.5, 1.0)]


def rng_of(sensor: Sensor, turn: int) -> np.random.Generator:
    """From names and numbers alone: the same whichever sensors are there besides."""
    name = f"{sensor.id} {sensor.deployment} {sensor.period_s:.0f}"
    return np.random.default_rng([SEED, zlib.crc32(name.encode()), turn])


def periods(sensor: Sensor) -> list[Sensor]:
    return [thinned(sensor, n) for n in THINNED.get(sensor.deployment, (1,))]


def outside_events(sensor: Sensor) -> NDArray[np.bool_]:
    """
    The labelled events are real, so the sensor is ok; but what they do to its windows is what a
    strong fault does, and a model that takes them for calm is blind to such faults.
    """
    return ~while_windows_hold(sensor)


def broken(sensor: Sensor, turn: int, strengths: tuple[float, ...]) -> View:
    rng = rng_of(sensor, turn)
    injected = faults.inject(sensor, faults.plan(sensor, rng, CALM, strengths), rng)
    x = inputs.rows(sensor, ALL_INPUTS, injected.values)
    return View(sensor, injected, x, outside_events(sensor))


def clean(sensor: Sensor) -> View:
    injected = faults.inject(sensor, [], rng_of(sensor, 0))
    return View(sensor, injected, inputs.rows(sensor, ALL_INPUTS), outside_events(sensor))


def broken_views(sensors: list[Sensor], strengths: tuple[float, ...]) -> list[View]:
    return [
        broken(p, turn, strengths)
        for s in sensors
        for p in periods(s)
        for turn in range(PASSES.get(s.deployment, PASSES_OF_OTHERS))
    ]


def clean_views(sensors: list[Sensor]) -> list[View]:
    return [clean(p) for s in sensors for p in periods(s)]


def stack(views: list[View]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    x = np.concatenate([v.x[v.kept] for v in views])
    return x, np.concatenate([v.injected.truth[v.kept] for v in views])


@dataclass(frozen=True)
class Size:
    trees: int = TREES
    depth: int = DEPTH


SHIPPED = Size()
LARGER = Size(60, 14)  # looked at, not shipped: what the size costs


def group_of(view: View) -> str:
    """Set and period."""
    period_s = view.sensor.period_s
    text = f"{period_s:.0f} s" if period_s < 120 else f"{period_s / 60:.0f} min"
    return f"{view.sensor.deployment}, {text}"


def weights(choice: Choice, views: list[View]) -> NDArray[np.float64]:
    """
    Of the rows of `stack`. Every set and period weighs the same, or the forest would be one for
    the two motes that were read every five seconds. Of the classes ok alone has a weight: to
    balance them buys recall of what cannot be told from weather with alarms on whole sensors.
    """
    names = [group_of(v) for v in views]
    rows = {
        name: sum(int(v.kept.sum()) for v, n in zip(views, names, strict=True) if n == name)
        for name in set(names)
    }
    total = sum(rows.values())
    found = []
    for view, name in zip(views, names, strict=True):
        weight = np.where(view.injected.truth == OK, choice.ok_weight, 1.0)
        found.append(weight[view.kept] * total / len(rows) / rows[name])
    return np.concatenate(found)


def make(size: Size) -> RandomForestClassifier:
    """
    What is missing (of a first reading, a field that the sensor lacks, one value in a window) goes
    down a branch of its own: a number put in its place costs a tree one of its few questions.
    """
    return RandomForestClassifier(
        n_estimators=size.trees,
        max_depth=size.depth,
        min_samples_leaf=50,
        max_features=0.5,
        max_samples=0.5,
        random_state=SEED,
        n_jobs=-1,
    )


def fit(choice: Choice, views: list[View], size: Size = SHIPPED) -> RandomForestClassifier:
    x, truth = stack(views)
    model = make(size).fit(x[:, choice.columns], truth, sample_weight=weights(choice, views))
    model.n_jobs = 1  # threads would add up what the trees say in any order
    return model


def _folds(views: list[View], folds: int) -> list[tuple[list[View], list[View]]]:
    groups = np.array([v.sensor.id for v in views])
    parts = GroupKFold(min(folds, len(set(groups)))).split(groups, groups=groups)
    return [([views[i] for i in train], [views[i] for i in held]) for train, held in parts]


def cross(choice: Choice, views: list[View], folds: int, size: Size = SHIPPED) -> float:
    """
    MCC over held-out training sensors, which prizes neither silence nor constant alarm; the mean
    over sets and periods.
    """
    groups: dict[str, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = {}
    for train, held in _folds(views, folds):
        model = fit(choice, train, size)
        for view in held:
            said = model.predict(view.x[view.kept][:, choice.columns])
            groups.setdefault(group_of(view), []).append((view.injected.truth[view.kept], said))
    found = []
    for parts in groups.values():
        truth, said = (np.concatenate(side) for side in zip(*parts, strict=True))
        found.append(metrics.sk.matthews_corrcoef(truth, said))
    return float(np.mean(found))


def choose(views: list[View], folds: int) -> tuple[Choice, list[dict[str, Any]]]:
    table = [{**vars(c), "mcc": metrics.rounded(cross(c, views, folds))} for c in CHOICES]
    best = max(range(len(CHOICES)), key=lambda i: table[i]["mcc"])
    return CHOICES[best], table


def mcc_of_the_set(views: list[View], folds: int) -> float:
    """
    How much of the truth is told by the period and by what is missing alone: by which set it is.
    Nothing, when every sensor has the same faults.
    """
    count = ALL_INPUTS.index("count(temperature,5m)")
    truths, said = [], []
    for part in _folds(views, folds):
        sides = []
        for x, truth in map(stack, part):
            sides.append((np.column_stack([x[:, count], np.isnan(x)]), truth))
        (x, truth), (x_held, truth_held) = sides
        model = make(SHIPPED).fit(x, truth)
        truths.append(truth_held)
        said.append(model.predict(x_held))
    return float(metrics.sk.matthews_corrcoef(np.concatenate(truths), np.concatenate(said)))


# --- the baseline -------------------------------------------------------------------------------

# Of deploy/profiles/sensors.yaml.
RANGES = {"temperature": (-40, 85), "humidity": (0, 100), "voltage": (0, 5), "light": (0, 100000)}
STUCK_AFTER = (3, 5, 8, 12, 20, 40)


def equal_in_a_row(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """How often each value has now come in a row, itself included."""
    at = np.arange(len(values))
    changed = np.concatenate(([True], values[1:] != values[:-1]))
    return at - np.maximum.accumulate(np.where(changed, at, 0)) + 1


def rule(view: View, stuck_after: int) -> NDArray[np.uint8]:
    """What gateways do without a model: faulty when out of range or unchanged for too long."""
    values = view.injected.values
    bad = np.zeros(len(values), bool)
    for column, name in enumerate(FIELDS):
        low, high = RANGES[name]
        bad |= (values[:, column] < low) | (values[:, column] > high)
    for column in (TEMPERATURE, HUMIDITY):
        bad |= equal_in_a_row(values[:, column]) >= stuck_after
    return np.where(bad, faults.FAULTY, OK).astype(np.uint8)


def choose_rule(views: list[View]) -> int:
    _, truth = stack(views)
    scores = {
        n: metrics.sk.matthews_corrcoef(truth, np.concatenate([rule(v, n)[v.kept] for v in views]))
        for n in STUCK_AFTER
    }
    return max(scores, key=lambda n: scores[n])


# --- figures ------------------------------------------------------------------------------------

Said = list[tuple[NDArray[np.uint8], NDArray[np.float64]]]  # a view: class, 1 - P(ok)


def figures(views: list[View], said: Said) -> dict[str, Any]:
    truth = np.concatenate([v.injected.truth[v.kept] for v in views])
    classes = np.concatenate([c[v.kept] for v, (c, _) in zip(views, said, strict=True)])
    score = np.concatenate([s[v.kept] for v, (_, s) in zip(views, said, strict=True)])
    return metrics.classification(truth, classes, score, len(CLASSES))


def recall_table(views: list[View], said: Said) -> list[dict[str, Any]]:
    """
    By fault, field and strength: rows that are not ok and are called so; rows that get their very
    class; episodes of which one such row is called not ok.
    """
    cells: dict[tuple[str, str, float], list[tuple[int, int, int, int]]] = {}
    for view, (classes, _) in zip(views, said, strict=True):
        for index, e in enumerate(view.injected.episodes):
            truth = view.injected.truth[e.first : e.end]
            mine = (view.injected.episode[e.first : e.end] == index) & (truth != OK)
            mine &= view.kept[e.first : e.end]
            if not mine.any():
                continue
            got = classes[e.first : e.end][mine]
            right = int(np.sum(got == truth[mine]))
            flagged = int(np.sum(got != OK))
            cells.setdefault((e.kind, FIELDS[e.field], e.strength), []).append(
                (int(mine.sum()), flagged, right, int(flagged > 0))
            )
    table = []
    for (kind, field, strength), found in sorted(cells.items()):
        rows, flagged, right, episodes = np.sum(found, axis=0)
        table.append(
            {
                "fault": kind,
                "field": field,
                "strength": strength,
                "episodes": len(found),
                "rows": int(rows),
                "row_recall": metrics.rounded(flagged / rows),
                "class_recall": metrics.rounded(right / rows),
                "episode_recall": metrics.rounded(episodes / len(found)),
            }
        )
    return table


def false_alarms(views: list[View], said: Said) -> dict[str, Any]:
    """On readings that nobody broke. The stretch's figure is what chance scores in recall_table."""
    flags = [(c != OK) & v.kept for v, (c, _) in zip(views, said, strict=True)]
    rows = sum(int(v.kept.sum()) for v in views)
    days = sum(v.sensor.days * float(v.kept.mean()) for v in views)
    raised = sum(metrics.alarms(f) for f in flags)
    stretches = [
        f[at : at + length].any()
        for v, f in zip(views, flags, strict=True)
        for length in [sum(faults.episode_lengths(v.sensor)) // 2]
        for at in range(0, len(f) - length + 1, length)
    ]
    return {
        "rows": rows,
        "sensor_days": metrics.rounded(days),
        "alarms": raised,
        "alarms_per_sensor_day": metrics.rounded(raised / days),
        "row_rate": metrics.rounded(sum(int(f.sum()) for f in flags) / rows),
        "stretch_rate": metrics.rounded(float(np.mean(stretches))) if stretches else None,
    }


def during_events(views: list[View], said: Said) -> float | None:
    """Share of the real events' rows that are called not ok. Neither right nor wrong."""
    flags = [c[v.sensor.label != 0] != OK for v, (c, _) in zip(views, said, strict=True)]
    rows = np.concatenate(flags)
    return metrics.rounded(float(rows.mean())) if len(rows) else None
