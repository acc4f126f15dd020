"""
Trees of scikit-learn as bundles. What breaks if they fail: a gateway that gives other scores than
the model that was tested, on one row in a million or on all.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from exact import INPUTS, Tally, check_whole, compare, data, made, probes, targets, with_gaps
from penstock_model.model import Bundle, Missing, Task
from penstock_model.quantize import KEY_MAX, KEY_NONE, float_of, key_of, pull_back
from penstock_model.score import score
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

# Of random bits some are signalling NaN, which numpy tells of.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value")

R, B, M = Task.REGRESSION, Task.BINARY, Task.MULTICLASS
SMALL = {"n_estimators": 12, "max_depth": 7, "random_state": 1}
BOOST = {"n_estimators": 15, "max_depth": 4, "random_state": 1}
HIST = {"max_iter": 8, "max_leaf_nodes": 12, "random_state": 1, "early_stopping": False}

MODELS = {
    "forest, binary": (RandomForestClassifier(**SMALL), B),
    "forest, classes": (RandomForestClassifier(**SMALL, class_weight="balanced"), M),
    "forest, regression": (RandomForestRegressor(**SMALL), R),
    "extra trees, binary": (ExtraTreesClassifier(**SMALL), B),
    "extra trees, classes": (ExtraTreesClassifier(**SMALL), M),
    "extra trees, regression": (ExtraTreesRegressor(**SMALL), R),
    "tree, classes": (DecisionTreeClassifier(random_state=1), M),
    "tree, regression": (DecisionTreeRegressor(criterion="absolute_error", max_depth=8), R),
    "extra tree, binary": (ExtraTreeClassifier(random_state=1), B),
    "extra tree, regression": (ExtraTreeRegressor(max_depth=12, random_state=1), R),
    "boosted, binary": (GradientBoostingClassifier(**BOOST), B),
    "boosted, exponential": (GradientBoostingClassifier(**BOOST, loss="exponential"), B),
    "boosted, classes": (GradientBoostingClassifier(**BOOST), M),
    "boosted, from zero": (GradientBoostingClassifier(**BOOST, init="zero"), M),
    "boosted, regression": (GradientBoostingRegressor(**BOOST, subsample=0.7), R),
    "boosted, huber": (GradientBoostingRegressor(**BOOST, loss="huber"), R),
    "boosted, quantile": (GradientBoostingRegressor(**BOOST, loss="quantile", init="zero"), R),
    "histograms, binary": (HistGradientBoostingClassifier(**HIST), B),
    "histograms, classes": (HistGradientBoostingClassifier(**HIST), M),
    "histograms, regression": (HistGradientBoostingRegressor(**HIST), R),
}

FRONTS = {
    "nothing": [],
    "standard": [StandardScaler()],
    "range": [MinMaxScaler((-3, 5))],
    "imputed": [SimpleImputer()],
    "imputed, standard": [SimpleImputer(strategy="median"), StandardScaler()],
    "imputed, clipped range": [SimpleImputer(strategy="most_frequent"), MinMaxScaler(clip=True)],
    "robust, imputed": [RobustScaler(), SimpleImputer(strategy="constant", fill_value=0.25)],
    "greatest, imputed, standard": [
        MaxAbsScaler(),
        SimpleImputer(),
        StandardScaler(with_std=False),
    ],
}


@pytest.fixture(scope="module")
def tally() -> Iterator[list[Tally]]:
    """All comparisons of this file; their sum is printed, and is no sum of nothing."""
    found: list[Tally] = []
    yield found
    total = sum(found, Tally())
    print(f"\ncompared: {total}")


def check(model: object, b: Bundle, x: np.ndarray, tally: list[Tally]) -> Tally:
    check_whole(model, b, x)
    found = compare(model, b, probes(b, x, 2000))
    tally.append(found)
    assert found.wrong_leaves == 0 and found.wrong_outputs == 0, found
    assert found.leaves > 1000, "or this shows nothing"
    return found


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("name", MODELS)
def test_leaves_and_outputs_are_the_library_s(name: str, front: str, tally: list[Tally]) -> None:
    estimator, task = MODELS[name]
    steps = FRONTS[front]
    imputes = any(isinstance(s, SimpleImputer) for s in steps)
    x = with_gaps(data(700)) if imputes else data(700)
    model = make_pipeline(*steps, estimator) if steps else estimator
    b = made(model.fit(x, targets(x, task)), x)
    assert all(i.missing != Missing.REFUSED for i in b.inputs) or not imputes
    check(model, b, x, tally)


NATIVE = [
    RandomForestClassifier(**SMALL),
    RandomForestRegressor(**SMALL),
    DecisionTreeClassifier(max_depth=9),
    HistGradientBoostingClassifier(**HIST),
    HistGradientBoostingRegressor(**HIST),
]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("estimator", NATIVE, ids=lambda e: type(e).__name__)
def test_own_branches_of_missing_values(
    estimator: object, scaled: bool, tally: list[Tally]
) -> None:
    x = with_gaps(data(700), 0.3)
    task = R if "Regressor" in type(estimator).__name__ else M
    model = make_pipeline(StandardScaler(), estimator) if scaled else estimator
    b = made(model.fit(x, targets(x, task)), x, missing="branch")
    assert {i.missing for i in b.inputs} == {Missing.BRANCH}
    assert (b.trees.nodes["input"] & 0x8000).any()
    check(model, b, x, tally)


def test_missing_against_all_others(tally: list[Tally]) -> None:
    """The library's threshold is then infinite: all finite values go one way, missing the other."""
    rng = np.random.default_rng(2)
    x = np.where(rng.random((400, 5)) < 0.5, np.nan, rng.normal(0, 1, (400, 5))).astype(np.float32)
    for flip in (0, 1):
        y = np.isnan(x[:, 0]).astype(int) ^ flip
        tree = DecisionTreeClassifier(max_depth=3).fit(x, y)
        b = made(tree, x, missing="branch")
        check(tree, b, x, tally)
        np.testing.assert_array_equal(score(b, x).label, y)


def assembled(tree: DecisionTreeClassifier, low: float, high: float) -> Pipeline:
    """A tree behind a range that it was not trained with: some thresholds lie outside of it."""
    scaler = MinMaxScaler((low, high), clip=True).fit(np.array([[0.0] * 5, [1.0] * 5]))
    return Pipeline([("range", scaler), ("tree", tree)])


@pytest.mark.parametrize("gaps", [False, True])
def test_thresholds_with_no_value_on_one_side(gaps: bool, tally: list[Tally]) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (600, 5)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
    if gaps:
        x[rng.random(x.shape) < 0.3] = np.nan
    tree = DecisionTreeClassifier(max_depth=10, random_state=1).fit(x, y)
    whole = made(tree, x, missing="branch" if gaps else None)
    for low, high in ((-0.5, 0.5), (0.2, 2.0), (-9.0, -0.2)):
        model = assembled(tree, low, high)
        b = made(model, x, missing="branch" if gaps else None)
        check(model, b, x, tally)
        assert b.node_count < whole.node_count, "branches that decide nothing are gone"


def test_imputed_between_two_floats_takes_its_own_branches(tally: list[Tally]) -> None:
    """
    Readings a million apart from zero are so coarse that thresholds to both sides of the imputed
    value lie between two of them: no raw value could stand for a missing one.
    """
    rng = np.random.default_rng(4)
    x = (3e7 + 2 * rng.integers(-3, 4, (500, 5))).astype(np.float32)
    y = (x[:, 0] > 3e7).astype(int)
    gone = rng.random((500, 5)) < 0.3
    x[gone] = np.nan
    y[gone[:, 0]] = 2
    fill = SimpleImputer(strategy="constant", fill_value=0.1)
    model = make_pipeline(StandardScaler(), fill, DecisionTreeClassifier()).fit(x, y)
    b = made(model, x)
    assert b.inputs[0].missing == Missing.BRANCH
    check(model, b, x, tally)


def test_equal_thresholds_are_merged() -> None:
    x = np.repeat(np.arange(8, dtype=np.float32), 40).reshape(-1, 1) @ np.ones((1, 5), np.float32)
    y = np.sin(x[:, 0] * 3)
    model = RandomForestRegressor(n_estimators=20, random_state=0).fit(x, y)
    raw = {t for e in model.estimators_ for t in e.tree_.threshold[e.tree_.feature >= 0].tolist()}
    b = made(model, x)
    assert max(len(t) for t in b.bins) <= len(raw) < sum(e.tree_.node_count for e in model)


def test_scaler_that_maps_many_values_to_one_merges_thresholds(tally: list[Tally]) -> None:
    x = data(600)
    x[:, 1] = 1e6 + np.random.default_rng(0).normal(0, 0.2, 600)
    model = make_pipeline(StandardScaler(), RandomForestRegressor(**SMALL))
    b = made(model.fit(x, targets(x, R)), x)
    check(model, b, x, tally)


def test_pull_back_is_exact_at_both_ends() -> None:
    def half(x: np.ndarray) -> np.ndarray:
        return x / np.float32(2)

    limits = [np.array([-np.inf, -1e39, -1.0, -1e-60, 0, 1e-60, 1 / 3, 1e38, 1e39, np.inf])]
    (keys,) = pull_back(half, limits)
    assert keys[0] == keys[1] == KEY_NONE and keys[-1] == keys[-2] == KEY_MAX
    t = float_of(keys[2:-2])
    after = float_of(keys[2:-2] + 1)
    assert (half(t) <= limits[0][2:-2]).all() and (half(after) > limits[0][2:-2]).all()
    assert not np.signbit(float_of(np.array([0])))[0], "-0 and 0 are one threshold"


def test_keys_are_in_the_order_of_floats() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 100000, dtype=np.uint32).view(np.float32)
    x = np.sort(x[np.isfinite(x)])
    keys = key_of(x)
    assert (np.diff(keys) >= 0).all() and (float_of(keys) == x).all()
    assert key_of(np.float32(-0.0)) == 0 == key_of(np.float32(0.0))


def test_golden_rows_are_what_the_library_says() -> None:
    x = data(300)
    x[:3] = np.diag([np.nan, np.inf, np.nan, 1, 1])[:3] + x[:3]
    y = targets(x, B)
    model = RandomForestClassifier(**SMALL, n_jobs=4).fit(np.nan_to_num(x, posinf=0), y)
    b = made(model, x)
    assert np.isnan(b.golden.input[1, 1]), "what is infinite is missing"
    assert np.isnan(b.golden.out[:3]).all() and (b.golden.leaf[:3] == 0xFFFFFFFF).all()
    model.n_jobs = 1
    np.testing.assert_array_equal(b.golden.out[3:, 0], model.predict_proba(x[3:50])[:, 1])
    assert model.n_jobs == 1 and b.inputs[0].expression == INPUTS[0]


def test_model_trained_with_float64_is_taken_as_asked_with_float32(tally: list[Tally]) -> None:
    x = data(500).astype(np.float64) * 1.1
    model = make_pipeline(StandardScaler(), GradientBoostingRegressor(**BOOST))
    check(model, made(model.fit(x, targets(x, R)), x), x.astype(np.float32), tally)
