"""
Linear models of scikit-learn as bundles. What breaks if they fail: scores that are off by more
than the last digits of a sum, or another class.
"""

import numpy as np
import pytest
from exact import INPUTS, data, made, targets, with_gaps
from penstock_model.model import Link, Missing, Task
from penstock_model.score import score
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

# How well they fit, and to what, is nothing here.
pytestmark = pytest.mark.filterwarnings("ignore")

R, B, M = Task.REGRESSION, Task.BINARY, Task.MULTICLASS

MODELS = {
    "logistic, binary": (LogisticRegression(), B),
    "logistic, without bias": (LogisticRegression(fit_intercept=False), B),
    "logistic, liblinear": (LogisticRegression(solver="liblinear"), B),
    "logistic, classes": (LogisticRegression(), M),
    "least squares": (LinearRegression(), R),
    "ridge": (Ridge(alpha=0.1), R),
    "lasso": (Lasso(alpha=0.01), R),
}

FRONTS = {
    "nothing": [],
    "imputed": [SimpleImputer(strategy="median")],
    "standard": [StandardScaler()],
    "imputed, standard": [SimpleImputer(), StandardScaler()],
    "imputed, robust, range": [SimpleImputer(), RobustScaler(), MinMaxScaler((-1, 3))],
    "greatest, standard": [MaxAbsScaler(), StandardScaler(with_mean=False)],
}


def ordinary(n: int = 500, gaps: bool = False) -> np.ndarray:
    x = data(n)
    x[:, 2] *= np.float32(1e30)
    return with_gaps(x) if gaps else x


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_library_s(name: str, front: str, kind: type) -> None:
    estimator, task = MODELS[name]
    steps = FRONTS[front]
    imputes = any(isinstance(s, SimpleImputer) for s in steps)
    x = ordinary(gaps=imputes)
    model = make_pipeline(*steps, estimator).fit(x.astype(kind), targets(x, task))
    b = made(model, x)
    rows = ordinary(2000, gaps=imputes)
    got = score(b, rows)
    # The library with the imputed value as the appliance has it, a float32; the rest in float64.
    filled = model[0].transform(rows) if imputes else rows
    seen = filled.astype(np.float64)
    for step in model.steps[imputes:-1]:
        seen = step[1].transform(seen)
    last = model[-1]
    if task == R:
        wanted = last.predict(seen).reshape(-1, 1)
    else:
        wanted = last.predict_proba(seen)[:, 1:] if task == B else last.predict_proba(seen)
        sure = np.abs(wanted - 0.5).min(axis=1) > 1e-9
        labels = last.classes_[got.label[sure]]
        np.testing.assert_array_equal(labels, last.predict(seen)[sure])
    near = np.abs(got.out - wanted) <= 1e-9 * np.maximum(1, np.abs(wanted))
    assert near.all(), np.abs(got.out - wanted).max()
    wanted_link = {R: Link.IDENTITY, B: Link.SIGMOID, M: Link.SOFTMAX}[task]
    assert b.link == wanted_link and b.tree_count == 0 and b.bins == ()


def test_without_an_imputer_a_missing_value_is_refused() -> None:
    x = ordinary()
    b = made(Ridge().fit(x, targets(x, R)), x)
    rows = x[:6].copy()
    rows[range(4), range(4)] = [np.nan, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(np.isnan(score(b, rows).out[:, 0]), [True] * 4 + [False] * 2)
    assert {i.missing for i in b.inputs} == {Missing.REFUSED}


def test_imputed_value_is_a_float32() -> None:
    x = ordinary(gaps=True)
    model = make_pipeline(SimpleImputer(), Ridge()).fit(x.astype(np.float64), targets(x, R))
    b = made(model, x)
    means = model[0].statistics_.astype(np.float32)
    assert [np.float32(i.imputed) for i in b.inputs] == list(means)
    empty = score(b, np.full((1, len(INPUTS)), np.nan, np.float32)).out
    np.testing.assert_array_equal(empty, score(b, means.reshape(1, -1)).out)
