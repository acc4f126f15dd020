"""Rows on which a bundle is compared with the library that it comes from, and the comparison."""

from dataclasses import dataclass

import numpy as np
from penstock_model import bundle
from penstock_model.convert import convert
from penstock_model.model import Bundle, Kind, Missing, Task
from penstock_model.score import score
from sklearn.pipeline import Pipeline

GREATEST = np.float32(np.finfo(np.float32).max)
SPECIALS = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-40, 1e-38, GREATEST, -GREATEST],
    dtype=np.float32,
)
FACTS = {
    "metrics": {"data": "made up"},
    "provenance": {"recipe": "test", "data_sha256": "0" * 64},
}
INPUTS = ["a", "b", "c", "d", "e"]


def data(n: int, seed: int = 0) -> np.ndarray:
    """Columns of different sizes: ordinary, large and coarse, tiny, of few values, constant."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(20, 5, n),
        101325 + rng.normal(0, 300, n).round(),
        rng.normal(0, 1, n) * 1e-30,
        rng.integers(-2, 3, n),
        np.full(n, 7.0),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def with_gaps(x: np.ndarray, share: float = 0.15) -> np.ndarray:
    x = x.copy()
    x[np.random.default_rng(9).random(x.shape) < share] = np.nan
    x[:, 4] = 7  # an imputer drops a column that is empty
    return x


def targets(x: np.ndarray, task: Task, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = np.nan_to_num(x.astype(np.float64))
    y = z[:, 0] / 5 + np.sin(z[:, 1] / 50) + z[:, 2] * 1e30 + z[:, 3] + rng.normal(0, 0.3, len(x))
    y += np.isnan(x[:, 0])
    if task == Task.REGRESSION:
        return y
    classes = 2 if task == Task.BINARY else 4
    return np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1]))


def made(model: object, x: np.ndarray, **more: object) -> Bundle:
    found = convert(model, INPUTS, name="exact", version=1, golden_rows=x[:50], **{**FACTS, **more})
    return bundle.read(bundle.write(found))


def around(thresholds: np.ndarray) -> np.ndarray:
    """Each threshold, and one float32 to either side."""
    t = np.asarray(thresholds, dtype=np.float32)
    with np.errstate(over="ignore"):
        return np.concatenate([t, np.nextafter(t, np.inf), np.nextafter(t, -np.inf)])


def probes(b: Bundle, x: np.ndarray, count: int) -> np.ndarray:
    """Random rows, each special value in each column, and all thresholds with their neighbours."""
    rng = np.random.default_rng(4)
    parts = [x, rng.normal(0, 1, (count, x.shape[1])).astype(np.float32)]
    bits = rng.integers(0, 2**32, (count, x.shape[1]), dtype=np.uint32).view(np.float32)
    parts.append(bits)  # floats of every size; what is not finite is missing
    for i in range(x.shape[1]):
        values = np.concatenate([SPECIALS, around(b.bins[i])]) if b.trees else SPECIALS
        rows = x[rng.integers(0, len(x), len(values))].copy()
        rows[:, i] = values
        parts.append(rows)
    return np.concatenate(parts)


@dataclass
class Tally:
    rows: int = 0
    thresholds: int = 0
    leaves: int = 0
    wrong_leaves: int = 0
    wrong_outputs: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


def _seen(model: object, x: np.ndarray) -> tuple[np.ndarray, object]:
    """What the last step sees, by the library's own transformers. It refuses what overflows
    between two steps; such values stay the greatest."""
    last = model
    with np.errstate(all="ignore"):
        if isinstance(model, Pipeline):
            for _, step in model.steps[:-1]:
                x = np.clip(step.transform(x), -GREATEST, GREATEST)
            last = model.steps[-1][1]
    return x, last


def _descend(nodes: np.ndarray, x: np.ndarray, at: int, rows: np.ndarray, leaf: np.ndarray) -> None:
    """Rows are parted at each node; `leaf` takes where they end."""
    node = nodes[at]
    if node["is_leaf"] or not rows.size:
        leaf[rows] = at
        return
    v = x[rows, node["feature_idx"]].astype(np.float64)
    left = np.where(np.isnan(v), node["missing_go_to_left"] == 1, v <= node["num_threshold"])
    _descend(nodes, x, int(node["left"]), rows[left], leaf)
    _descend(nodes, x, int(node["right"]), rows[~left], leaf)


def _library_leaves(last: object, x: np.ndarray) -> np.ndarray:
    if not hasattr(last, "_predictors"):
        return last.apply(x).reshape(len(x), -1).astype(np.int64)
    # Trees of histograms do not tell their leaves.
    flat = [p for stage in last._predictors for p in stage]
    found = np.zeros((len(x), len(flat)), dtype=np.int64)
    for t, predictor in enumerate(flat):
        _descend(predictor.nodes, x, 0, np.arange(len(x)), found[:, t])
    return found


def _library_raw(last: object, b: Bundle, x: np.ndarray) -> np.ndarray:
    """Before the link."""
    if b.kind == Kind.FOREST:
        found = last.predict(x) if b.task == Task.REGRESSION else last.predict_proba(x)
        return found[:, 1:] if b.task == Task.BINARY else found.reshape(len(x), -1)
    if b.task == Task.REGRESSION:
        return last.predict(x).reshape(-1, 1)
    found = last.decision_function(x).reshape(len(x), -1)
    return 2 * found if getattr(last, "loss", "") == "exponential" else found


def check_whole(model: object, b: Bundle, x: np.ndarray) -> None:
    """The model as a user asks it, all steps by the library alone, on rows that it takes."""
    got = score(b, x)
    there = ~np.isnan(got.out).any(axis=1)
    if b.task == Task.REGRESSION:
        wanted = model.predict(x[there]).reshape(-1, 1)
    else:
        wanted = model.predict_proba(x[there])
        wanted = wanted[:, 1:] if b.task == Task.BINARY else wanted
    np.testing.assert_allclose(got.out[there], wanted, rtol=0, atol=1e-12 if b.link else 0)
    if b.task == Task.REGRESSION:
        return
    both = np.hstack([1 - wanted, wanted]) if b.task == Task.BINARY else wanted
    first, second = np.sort(both, axis=1)[:, -1], np.sort(both, axis=1)[:, -2]
    sure = first - second > 1e-9
    labels = model.classes_[got.label[there]]
    np.testing.assert_array_equal(labels[sure], model.predict(x[there])[sure])


def compare(model: object, b: Bundle, rows: np.ndarray) -> Tally:
    """Every leaf and every output, bit by bit, of every row that has a score."""
    got = score(b, rows)
    x = np.where(np.isfinite(rows), rows, np.float32(np.nan))
    refusing = [i.missing == Missing.REFUSED for i in b.inputs]
    refused = np.isnan(x[:, refusing]).any(axis=1)
    assert (np.isnan(got.out).all(axis=1) == refused).all(), "rows without a score"
    seen, last = _seen(model, x[~refused])
    leaves = _library_leaves(last, seen)
    number = b.trees.leaf[b.trees.first[:-1] + got.leaf[~refused].astype(np.int64)]
    wrong = b.trees.origin[number] != leaves
    raw = _library_raw(last, b, seen) + 0.0
    mine = np.ascontiguousarray(got.raw[~refused])
    return Tally(
        rows=len(rows),
        thresholds=sum(map(len, b.bins)),
        leaves=wrong.size,
        wrong_leaves=int(wrong.sum()),
        wrong_outputs=int(
            (mine.view(np.uint64) != np.ascontiguousarray(raw).view(np.uint64)).sum()
        ),
    )
