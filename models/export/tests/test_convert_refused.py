"""
What cannot be converted exactly. What breaks if they fail: a bundle that is nearly the model, or
an error that does not say what to change.
"""

import re

import numpy as np
import pytest
import sklearn
from exact import FACTS, INPUTS, data, targets, with_gaps
from penstock_model.convert import ConvertError, convert
from penstock_model.model import Bundle, Missing, Rows, Task
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

X = data(200)
GAPS = with_gaps(X)
EMPTY = np.where(np.arange(5) == 2, np.nan, X).astype(np.float32)
Y, YB, YM = (targets(X, t) for t in (Task.REGRESSION, Task.BINARY, Task.MULTICLASS))
Y2 = np.stack([Y, -Y], axis=1)
CHAIN = np.repeat(np.arange(200.0), 5).reshape(-1, 5)

# How well they fit is nothing here.
pytestmark = pytest.mark.filterwarnings("ignore")


def tree() -> DecisionTreeRegressor:
    return DecisionTreeRegressor(max_depth=3)


class OwnForest(RandomForestClassifier):
    """Whoever derives may compute something else."""


def go(model: object, **more: object) -> Bundle:
    given = {"name": "m", "version": 1, "golden_rows": X[:9], **FACTS, **more}
    return convert(model, given.pop("inputs", INPUTS), **given)


SCALED = make_pipeline(StandardScaler(), "passthrough")
NESTED = make_pipeline(make_pipeline(StandardScaler()), Ridge())
COLUMNS = make_pipeline(ColumnTransformer([("s", StandardScaler(), [0])]), Ridge())
INDICATED = make_pipeline(SimpleImputer(add_indicator=True), tree())
SEVENS = make_pipeline(SimpleImputer(missing_values=7), tree())
IMPUTED_LATE = make_pipeline(StandardScaler(), SimpleImputer(), Ridge())
OWN_INIT = GradientBoostingRegressor(n_estimators=2, init=Ridge())
DUMMY_INIT = GradientBoostingClassifier(n_estimators=2, init=DummyClassifier())
CATEGORIES = HistGradientBoostingRegressor(max_iter=2, categorical_features=[3])
POSITIVE = HistGradientBoostingRegressor(max_iter=2, loss="poisson")

# What it is fitted to, and what the refusal says.
MODELS = [
    (AdaBoostClassifier(n_estimators=2), X, YB, "AdaBoostClassifier is not supported"),
    (SGDClassifier(), X, YB, "SGDClassifier is not supported"),
    (DummyClassifier(), X, YB, "DummyClassifier is not supported"),
    (OwnForest(2), X, YB, "OwnForest is not supported"),
    (VotingClassifier([("a", DummyClassifier())]), X, YB, "VotingClassifier is not supported"),
    (SCALED, X, Y, "str is not supported"),
    (make_pipeline(PCA(2), Ridge()), X, Y, "'pca', PCA, is not supported"),
    (make_pipeline(QuantileTransformer(), Ridge()), X, Y, "QuantileTransformer, is not"),
    (make_pipeline(KNNImputer(), Ridge()), X, Y, "KNNImputer, is not supported"),
    (NESTED, X, Y, "'pipeline', Pipeline, is not supported"),
    (COLUMNS, X, Y, "ColumnTransformer, is not supported"),
    (INDICATED, GAPS, Y, "add_indicator is not supported"),
    (SEVENS, X, Y, "missing_values must be NaN"),
    (make_pipeline(SimpleImputer(), tree()), EMPTY, Y, "drops an input"),
    (IMPUTED_LATE, X, Y, "in front of all else"),
    (make_pipeline(MinMaxScaler(clip=True), Ridge()), X, Y, "clip=True"),
    (RandomForestRegressor(2), X, Y2, "more than one output"),
    (RandomForestClassifier(2), X, np.stack([YB, YB], axis=1), "more than one output"),
    (DecisionTreeRegressor(), X, Y2, "more than one output"),
    (LinearRegression(), X, Y2, "more than one output"),
    (DecisionTreeClassifier(), X, np.zeros(200), "1 classes"),
    (DecisionTreeClassifier(), X, np.arange(200) % 65, "65 classes"),
    (OWN_INIT, X, Y, "init=Ridge"),
    (DUMMY_INIT, X, YB, "init=DummyClassifier"),
    (CATEGORIES, np.abs(X), Y, "categorical_features"),
    (POSITIVE, X, np.abs(Y), "loss='poisson'"),
    (DecisionTreeRegressor(), CHAIN, 4.0 ** np.arange(200), "deep, 64 at most"),
    (DecisionTreeRegressor(), X, np.ones(200), "no tree asks"),
    (Ridge(), X[:, :4], Y, "Ridge takes 4 inputs, 5 are named"),
]


@pytest.mark.parametrize(("model", "x", "y", "part"), MODELS, ids=[m[3] for m in MODELS])
def test_model_is_refused_by_name(model: object, x: np.ndarray, y: np.ndarray, part: str) -> None:
    model = sklearn.clone(model).fit(x, y)
    with pytest.raises(ConvertError, match=re.escape(part)):
        go(model)


@pytest.mark.parametrize("way", [{"multi_class": "ovr"}, {"solver": "liblinear"}])
def test_one_against_the_rest_is_refused(way: dict[str, str]) -> None:
    """As an older version has fitted it; later ones cannot."""
    model = LogisticRegression().fit(X, YM)
    vars(model).update({"multi_class": "auto", **way})
    with pytest.raises(ConvertError, match="one against the rest"):
        go(model)


def test_tree_of_64_branches_is_taken() -> None:
    def deep(depth: int) -> Bundle:
        model = DecisionTreeRegressor(max_depth=depth).fit(CHAIN, 4.0 ** np.arange(200))
        return go(model, golden_rows=CHAIN)

    assert deep(64).node_count == 129
    with pytest.raises(ConvertError, match="tree 0 is 65 branches deep"):
        deep(65)


def test_what_is_not_fitted_is_refused() -> None:
    for model, part in [
        (RandomForestClassifier(), "RandomForestClassifier is not fitted"),
        (make_pipeline(StandardScaler(), tree().fit(X, Y)), "StandardScaler is not fitted"),
        ("a text", "str is not supported"),
    ]:
        with pytest.raises(ConvertError, match=part):
            go(model)


FITTED, CLASSES = tree(), DecisionTreeClassifier(max_depth=3)
IMPUTED = make_pipeline(SimpleImputer(), tree())
SIZED = ["a", "b", "c", "d", "mean(a,5m)"]

CALLS = [
    (FITTED, {"inputs": []}, "0 inputs"),
    (FITTED, {"inputs": [f"f{i}" for i in range(257)]}, "257 inputs"),
    (FITTED, {"inputs": ["a", "b", "c", "d"]}, "takes 5 inputs, 4 are named"),
    (FITTED, {"inputs": ["a", "b", "c", "d", "median(a,5m)"]}, "median"),
    (FITTED, {"inputs": ["a", "b", "c", "d", "d"]}, "d is an input twice"),
    (FITTED, {"inputs": [*SIZED[:3], "mean( a,300s)", SIZED[4]], "windows": {"5m": "1m"}}, "twice"),
    (FITTED, {"inputs": SIZED}, "no slide of 5m"),
    (FITTED, {"inputs": SIZED, "windows": {"5m": "2m"}}, "no multiple"),
    (FITTED, {"inputs": SIZED, "windows": {"5m": "10m"}}, "no multiple"),
    (FITTED, {"inputs": SIZED, "windows": {"5": "1m"}}, "no duration"),
    (FITTED, {"inputs": [*SIZED[:4], "slope(a,5m)"], "windows": {"5m": "5m"}}, "two panes"),
    (FITTED, {"inputs": SIZED, "windows": {300: 60}, "rows": "windows"}, "closed window"),
    (FITTED, {"rows": "columns"}, "rows='columns'"),
    (FITTED, {"name": "no good"}, "no name of a model"),
    (FITTED, {"name": ""}, "no name of a model"),
    (FITTED, {"name": "x" * 32}, "longer than 31"),
    (FITTED, {"version": 0}, "version 0"),
    (FITTED, {"unit": "x" * 16}, "longer than 15"),
    (FITTED, {"classes": ["a", "b"]}, "no classes"),
    (CLASSES, {"unit": "K"}, "unit of no regression"),
    (CLASSES, {"classes": ["a"]}, "1 class labels for 2"),
    (CLASSES, {"classes": ["a", "a"]}, "alike"),
    (CLASSES, {"classes": ["a", ""]}, "without a label"),
    (CLASSES, {"classes": ["a", "x" * 32]}, "longer than 31"),
    (CLASSES, {"threshold": 1.5}, "threshold"),
    (CLASSES, {"threshold": float("nan")}, "threshold"),
    (FITTED, {"metrics": {}}, "metrics must name 'data'"),
    (FITTED, {"provenance": {"recipe": "x"}}, "must name 'data_sha256'"),
    (FITTED, {"provenance": {"data_sha256": "x"}}, "must name 'recipe'"),
    (FITTED, {"golden_rows": X[:0]}, "golden rows"),
    (FITTED, {"golden_rows": X[:5, :4]}, "golden rows"),
    (FITTED, {"golden_rows": np.zeros((4097, 5))}, "golden rows"),
    (FITTED, {"missing": "imputed"}, "missing='imputed'"),
    (IMPUTED, {"missing": "branch"}, "leaves nothing"),
    (GradientBoostingRegressor(n_estimators=2), {"missing": "branch"}, "impute them"),
    (Ridge(), {"missing": "branch"}, "impute them"),
]


@pytest.mark.parametrize(("model", "more", "part"), CALLS)
def test_call_is_refused_by_name(model: object, more: dict[str, object], part: str) -> None:
    model = sklearn.clone(model).fit(X, YB if is_classifier(model) else Y)
    with pytest.raises(ConvertError, match=re.escape(part)):
        go(model, **more)


def test_what_is_told_goes_along() -> None:
    model = sklearn.clone(CLASSES).fit(X, YB)
    b = go(
        model,
        inputs=["a", "b", "hour()", "delta(a)", "mean(a, 300s)"],
        windows={300: 60.0},
        classes=["cold", "warm"],
        threshold=0.75,
        metrics={"data": "made up", "auc": 0.9},
    )
    assert b.inputs[4].expression == "mean(a,5m)"
    assert (b.inputs[4].size_ns, b.inputs[4].slide_ns) == (300 * 10**9, 60 * 10**9)
    assert b.classes == ("cold", "warm") and b.threshold == 0.75
    assert b.metrics["auc"] == 0.9 and b.provenance["library"] == "scikit-learn"
    assert b.provenance["estimator"] == "DecisionTreeClassifier" and b.rows == Rows.READINGS
    assert go(model).classes == ("0", "1"), "the library's labels"


def test_windows_as_rows() -> None:
    inputs = [*(f"{s}(a,5m)" for s in ("mean", "std", "min", "max")), "hour()"]
    model = tree().fit(X, Y)
    assert go(model, inputs=inputs, windows={"5m": "5m"}, rows="windows").rows == Rows.WINDOWS


def test_passed_over_steps_are_nothing() -> None:
    model = Pipeline([("none", None), ("pass", "passthrough"), ("tree", tree().fit(X, Y))])
    b = go(model)
    assert b.provenance["steps"] == [] and {i.missing for i in b.inputs} == {Missing.REFUSED}


def test_histograms_take_missing_values_unless_told_otherwise() -> None:
    model = HistGradientBoostingRegressor(max_iter=2).fit(GAPS, Y)
    assert {i.missing for i in go(model).inputs} == {Missing.BRANCH}
    assert {i.missing for i in go(model, missing="refused").inputs} == {Missing.REFUSED}
