"""
Bundles in the appliance's own engines, against the library and against this package. What breaks if
they fail: a gateway that gives other scores than the model that was tested.
"""

import csv
import json
import os
import subprocess
from pathlib import Path

import exact
import numpy as np
import pytest
from exact import Tally, compare, data, made, probes, targets, with_gaps
from penstock_model import read, write
from penstock_model.model import NO_LEAF, Bundle, Kind, Link
from penstock_model.score import LINEAR_TOLERANCE, LINK_TOLERANCE, Scores, score
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_convert_trees import FRONTS, MODELS, NATIVE, B, M, R, tally

__all__ = ["tally"]  # a fixture: one sum for each file

ROOT = Path(__file__).resolve().parents[3]
PENSTOCK = ROOT / os.environ.get("PENSTOCK_BUILD", "build") / "control" / "penstock"
CORPUS = sorted((ROOT / "tests" / "fuzz" / "corpus" / "bundle").glob("*.psm"))

pytestmark = pytest.mark.filterwarnings("ignore:invalid value")


def cell(value: np.float32) -> str:
    return "" if np.isnan(value) else repr(float(value))


def appliance(b: Bundle, rows: np.ndarray, folder: Path) -> Scores:
    """What `penstock model score` says; `raw` is this package's where there is a link."""
    bundle_file, rows_file = folder / "model.psm", folder / "rows.csv"
    bundle_file.write_bytes(write(b))
    with rows_file.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow([i.expression for i in b.inputs])
        writer.writerows([[cell(v) for v in row] for row in rows])
    command = [str(PENSTOCK), "model", "score", str(bundle_file), str(rows_file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(rows)
    out = np.array([line["outputs"] for line in told], dtype=np.float64)
    leaf = np.empty((len(rows), b.tree_count), dtype=np.uint32)
    for t in range(b.tree_count):
        numbers = b.trees.leaf[b.trees.first[t] : b.trees.first[t + 1]]
        node_of = {int(b.trees.origin[n]): at for at, n in enumerate(numbers) if n != NO_LEAF}
        leaf[:, t] = [NO_LEAF if (n := line["leaves"][t]) is None else node_of[n] for line in told]
    plain = score(b, rows)
    labels = {name: i for i, name in enumerate(b.classes)} | {None: -1}
    label = np.array([labels[line.get("class")] for line in told])
    raw = out if b.link == Link.IDENTITY else plain.raw
    return Scores(raw, out, leaf, label)


def agree(b: Bundle, got: Scores, rows: np.ndarray) -> None:
    """The appliance and this package: the same leaves and labels, the same outputs."""
    want = score(b, rows)
    np.testing.assert_array_equal(got.leaf, want.leaf)
    if b.link == Link.IDENTITY:
        np.testing.assert_array_equal(got.out, want.out)
    else:
        within = LINEAR_TOLERANCE if b.kind == Kind.LINEAR else LINK_TOLERANCE
        np.testing.assert_allclose(got.out, want.out, rtol=0, atol=within)
    # where two outputs are nearly the same, either may be the greater
    close = np.abs(got.out - b.threshold).min(axis=1) if b.outputs == 1 else _margin(want.out)
    sure = ~(close <= LINEAR_TOLERANCE)
    np.testing.assert_array_equal(got.label[sure], want.label[sure])


def _margin(out: np.ndarray) -> np.ndarray:
    two = np.sort(out, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def check(
    model: object, b: Bundle, rows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tally:
    got = appliance(b, rows, tmp_path)
    agree(b, got, rows)
    monkeypatch.setattr(exact, "score", lambda *_: got)
    found = compare(model, b, rows)
    assert found.wrong_leaves == 0 and found.wrong_outputs == 0, found
    assert found.leaves > 500, "or this shows nothing"
    return found


@pytest.mark.parametrize("name", MODELS)
def test_leaves_and_outputs_are_the_library_s(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: list[Tally]
) -> None:
    estimator, task = MODELS[name]
    steps = FRONTS[list(FRONTS)[list(MODELS).index(name) % len(FRONTS)]]
    imputes = any(isinstance(s, SimpleImputer) for s in steps)
    x = with_gaps(data(700)) if imputes else data(700)
    model = make_pipeline(*steps, estimator) if steps else estimator
    b = made(model.fit(x, targets(x, task)), x)
    tally.append(check(model, b, probes(b, x, 500), tmp_path, monkeypatch))


@pytest.mark.parametrize("estimator", NATIVE, ids=lambda e: type(e).__name__)
def test_own_branches_of_missing_values(
    estimator: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: list[Tally]
) -> None:
    x = with_gaps(data(700), 0.3)
    task = R if "Regressor" in type(estimator).__name__ else M
    model = make_pipeline(StandardScaler(), estimator)
    b = made(model.fit(x, targets(x, task)), x, missing="branch")
    tally.append(check(model, b, probes(b, x, 500), tmp_path, monkeypatch))


def test_a_forest_grown_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: list[Tally]
) -> None:
    """Thousands of thresholds an input, paths of very different length."""
    x = data(6000)
    model = RandomForestClassifier(20, random_state=1).fit(x, targets(x, M))
    b = made(model, x)
    assert max(len(t) for t in b.bins) > 1024, "blocks of thresholds are searched, not counted"
    rows = probes(b, x[:500], 500)
    rows = rows[:: max(1, len(rows) // 4000)]
    tally.append(check(model, b, rows, tmp_path, monkeypatch))


LINEAR = {
    "binary": (LogisticRegression(max_iter=500), B),
    "classes": (LogisticRegression(max_iter=500), M),
    "regression": (LinearRegression(), R),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_models(name: str, tmp_path: Path) -> None:
    estimator, task = LINEAR[name]
    x = with_gaps(data(400))
    model = make_pipeline(SimpleImputer(), StandardScaler(), estimator).fit(x, targets(x, task))
    b = made(model, x)
    got = appliance(b, x, tmp_path)
    agree(b, got, x)
    # asked with float32 the library computes in it; the appliance does in float64
    last, filled = model[1:], model[0].transform(x).astype(np.float64)
    wanted = last.predict(filled).reshape(-1, 1) if task == R else last.predict_proba(filled)
    wanted = wanted[:, 1:] if task == B else wanted
    np.testing.assert_allclose(got.out, wanted, rtol=LINEAR_TOLERANCE, atol=LINEAR_TOLERANCE)


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_bundles_of_the_c_tests_are_read_here(path: Path, tmp_path: Path) -> None:
    b = read(path.read_bytes())
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 30, (200, len(b.inputs))).astype(np.float32)
    agree(b, appliance(b, rows, tmp_path), rows)
