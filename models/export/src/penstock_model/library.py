"""What scikit-learn's fitted estimators hold, and what they themselves say of a row."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import sklearn
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
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from sklearn.utils.validation import check_is_fitted

from penstock_model.model import CLASSES_MAX, TREES_MAX, Kind, Task
from penstock_model.quantize import ConvertError, LibraryTree

# Before, leaves held counts and not shares.
OLDEST = (1, 4)

SINGLES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
FORESTS = (
    RandomForestClassifier,
    RandomForestRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
)
BOOSTED = (GradientBoostingClassifier, GradientBoostingRegressor)
HISTOGRAMS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
LINEAR = (LogisticRegression, LinearRegression, Ridge, Lasso)
SCALERS = (StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler)
STEPS = (SimpleImputer, *SCALERS)

BOOSTED_LOSSES = (
    "squared_error",
    "absolute_error",
    "huber",
    "quantile",
    "log_loss",
    "exponential",
)
HISTOGRAM_LOSSES = ("squared_error", "absolute_error", "quantile", "log_loss")

FLOAT_MAX = np.finfo(np.float32).max


@dataclass(frozen=True)
class Taken:
    """
    leaves: of float32 rows as the estimator sees them, the library's node of each tree;
    weight: [outputs, inputs]. start: what a sum begins with.
    """

    kind: Kind
    task: Task
    start: np.ndarray
    trees: list[LibraryTree] = field(default_factory=list)
    leaves: Callable[[np.ndarray], np.ndarray] | None = None
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None


def name_of(thing: object) -> str:
    return type(thing).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Rows come without the names that an estimator may have seen; some overflow on purpose."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


# --- the steps in front -------------------------------------------------------------------------


def _check_imputer(step: SimpleImputer) -> None:
    what = f"SimpleImputer(strategy={step.strategy!r})"
    if step.add_indicator:
        raise ConvertError(f"{what}: add_indicator is not supported")
    if not (isinstance(step.missing_values, float) and math.isnan(step.missing_values)):
        raise ConvertError(f"{what}: missing_values must be NaN, not {step.missing_values!r}")
    if step.strategy not in ("mean", "median", "most_frequent", "constant"):
        raise ConvertError(f"{what} is not supported")
    try:
        values = step.statistics_.astype(np.float64)
    except (TypeError, ValueError):
        raise ConvertError(f"{what} puts in what is no number") from None
    with quiet():
        if not np.isfinite(values.astype(np.float32)).all():
            raise ConvertError(f"{what} drops an input of which it has seen no value")


def _check_step(name: str, step: object) -> None:
    if type(step) not in STEPS:
        known = ", ".join(t.__name__ for t in STEPS)
        raise ConvertError(f"step {name!r}, {name_of(step)}, is not supported; {known} are")
    _check_fitted(step)
    if isinstance(step, SimpleImputer):
        _check_imputer(step)


def _check_fitted(thing: object) -> None:
    try:
        check_is_fitted(thing)
    except NotFittedError:
        raise ConvertError(f"{name_of(thing)} is not fitted") from None


class Steps:
    """
    The fitted steps in front of an estimator, called as the library calls them: on float32, which
    they keep. Each is rising in each input, and looks at no other.
    """

    def __init__(self, steps: Sequence[object]) -> None:
        self.steps = list(steps)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        with quiet():
            for step in self.steps:
                x = np.asarray(step.transform(x))
                if x.dtype != np.float32:
                    raise ConvertError(f"{name_of(step)} makes {x.dtype} of float32")
                # The library refuses what overflows between two steps; here it stays greatest.
                x = np.clip(x, -FLOAT_MAX, FLOAT_MAX)
        return x

    @property
    def imputes(self) -> bool:
        return any(isinstance(step, SimpleImputer) for step in self.steps)

    def first_imputed(self) -> np.ndarray | None:
        """float32 values that an imputer in front of all else puts in."""
        if self.steps and isinstance(self.steps[0], SimpleImputer):
            return self.steps[0].statistics_.astype(np.float64).astype(np.float32)
        return None


def split(estimator: object) -> tuple[Steps, object]:
    """The steps and the estimator behind them."""
    if type(estimator) is not Pipeline:
        return Steps([]), estimator
    *front, (_, last) = estimator.steps
    steps = [(name, step) for name, step in front if step not in (None, "passthrough")]
    for name, step in steps:
        _check_step(name, step)
    return Steps([step for _, step in steps]), last


# --- estimators ---------------------------------------------------------------------------------


def _task(estimator: object) -> Task:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return Task.REGRESSION
    if isinstance(classes, list):
        raise ConvertError(f"{name_of(estimator)} has more than one output")
    if not 2 <= len(classes) <= CLASSES_MAX:
        raise ConvertError(f"{name_of(estimator)} has {len(classes)} classes, not 2 to 64")
    return Task.BINARY if len(classes) == 2 else Task.MULTICLASS


def _plain_tree(fitted: object, value: np.ndarray, output: int = 0) -> LibraryTree:
    """Of sklearn.tree's trees."""
    t = fitted.tree_
    return LibraryTree(
        t.children_left,
        t.children_right,
        t.feature,
        t.threshold,
        t.missing_go_to_left.astype(bool),
        value,
        output,
    )


def _forest(estimator: object) -> Taken:
    if getattr(estimator, "n_outputs_", 1) != 1:
        raise ConvertError(f"{name_of(estimator)} has more than one output")
    task = _task(estimator)
    single = type(estimator) in SINGLES
    # Of a binary model the probability of class 1 is enough; a regression has one value.
    columns = {Task.REGRESSION: slice(0, 1), Task.BINARY: slice(1, 2), Task.MULTICLASS: slice(None)}
    trees = [
        _plain_tree(fitted, fitted.tree_.value[:, 0, columns[task]])
        for fitted in ([estimator] if single else estimator.estimators_)
    ]
    outputs = trees[0].value.shape[1]
    return Taken(
        Kind.FOREST,
        task,
        np.zeros(outputs),
        trees,
        lambda x: estimator.apply(x).reshape(len(x), -1),
    )


def _boosted(estimator: object) -> Taken:
    what = name_of(estimator)
    if estimator.init is not None and not (
        isinstance(estimator.init, str) and estimator.init == "zero"
    ):
        raise ConvertError(f"{what}: init={name_of(estimator.init)} is not supported")
    if estimator.loss not in BOOSTED_LOSSES:
        raise ConvertError(f"{what}: loss={estimator.loss!r} is not supported")
    # Its link is the sigmoid of twice the sum; doubling changes no bits but the exponent's.
    factor = 2.0 if estimator.loss == "exponential" else 1.0
    scale = estimator.learning_rate
    trees = [
        _plain_tree(fitted, factor * (scale * fitted.tree_.value[:, 0, :1]), output)
        for stage in estimator.estimators_
        for output, fitted in enumerate(stage)
    ]
    nothing = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    with quiet():
        start = factor * estimator._raw_predict_init(nothing)[0]
    return Taken(
        Kind.BOOSTED,
        _task(estimator),
        start,
        trees,
        lambda x: estimator.apply(x).reshape(len(x), -1),
    )


def _histogram_tree(predictor: object, output: int) -> LibraryTree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"][~leaf].any():
        raise ConvertError("HistGradientBoosting: categorical_features are not supported")
    return LibraryTree(
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)),
        nodes["num_threshold"].astype(np.float64),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"].astype(np.float64).reshape(-1, 1),
        output,
    )


def walk(trees: Sequence[LibraryTree], x: np.ndarray) -> np.ndarray:
    """Leaves by the library's own numbers, for estimators that do not tell them."""
    found = np.zeros((len(x), len(trees)), dtype=np.int64)
    for n, t in enumerate(trees):
        at = found[:, n]
        while (going := np.flatnonzero(t.left[at] >= 0)).size:
            node = at[going]
            value = x[going, t.feature[node]].astype(np.float64)
            left = np.where(np.isnan(value), t.missing_left[node], value <= t.threshold[node])
            at[going] = np.where(left, t.left[node], t.right[node])
    return found


def _histogram(estimator: object) -> Taken:
    what = name_of(estimator)
    if estimator.loss not in HISTOGRAM_LOSSES:
        raise ConvertError(f"{what}: loss={estimator.loss!r} is not supported")
    if getattr(estimator, "is_categorical_", None) is not None and any(estimator.is_categorical_):
        raise ConvertError(f"{what}: categorical_features are not supported")
    trees = [
        _histogram_tree(predictor, output)
        for stage in estimator._predictors
        for output, predictor in enumerate(stage)
    ]
    start = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    return Taken(Kind.BOOSTED, _task(estimator), start, trees, lambda x: walk(trees, x))


def _is_one_against_rest(estimator: LogisticRegression) -> bool:
    """As its predict_proba decides; later versions have no other way than the softmax."""
    way = getattr(estimator, "multi_class", "auto")
    apart = ("liblinear", "newton-cholesky") if _version() < (1, 6) else ("liblinear",)
    return way == "ovr" or (way in ("auto", "deprecated") and estimator.solver in apart)


def _linear(estimator: object) -> Taken:
    what, task = name_of(estimator), _task(estimator)
    weight = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    bias = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
    if task == Task.REGRESSION and len(weight) != 1:
        raise ConvertError(f"{what} has more than one output")
    if task == Task.MULTICLASS and _is_one_against_rest(estimator):
        raise ConvertError(f"{what}: one against the rest is not supported, only multinomial")
    if task == Task.BINARY and getattr(estimator, "multi_class", "auto") == "multinomial":
        weight, bias = 2 * weight, 2 * bias  # its softmax is over -d and d
    bias = np.broadcast_to(bias, len(weight)).copy()
    return Taken(Kind.LINEAR, task, np.zeros(len(weight)), weight=weight, bias=bias)


def _version() -> tuple[int, int]:
    major, minor, *_ = sklearn.__version__.split(".")
    return int(major), int(minor)


def take(estimator: object) -> Taken:
    """What it holds; ConvertError names what is not supported."""
    if _version() < OLDEST:
        raise ConvertError(f"scikit-learn {sklearn.__version__}: 1.4 or later is needed")
    kinds = {SINGLES: _forest, FORESTS: _forest, BOOSTED: _boosted, HISTOGRAMS: _histogram}
    for types, how in {**kinds, LINEAR: _linear}.items():
        if type(estimator) in types:
            _check_fitted(estimator)
            taken = how(estimator)
            if len(taken.trees) > TREES_MAX:
                raise ConvertError(f"{name_of(estimator)} has {len(taken.trees)} trees, not 4096")
            return taken
    raise ConvertError(f"{name_of(estimator)} is not supported")


def says(estimator: object, task: Task, x: np.ndarray) -> np.ndarray:
    """float64 [n, outputs]: the library's own answer, its trees summed in their order."""
    if hasattr(estimator, "n_jobs"):
        estimator = copy.copy(estimator)
        estimator.n_jobs = 1  # with more, the order of the sum is that of the threads
    with quiet():
        if task == Task.REGRESSION:
            return np.asarray(estimator.predict(x), dtype=np.float64).reshape(len(x), 1)
        found = np.asarray(estimator.predict_proba(x), dtype=np.float64)
    return found[:, 1:] if task == Task.BINARY else found


def takes_missing(estimator: object, inputs: int) -> bool:
    """Asked, not looked up: the answer depends on the version and on how it was fitted."""
    try:
        with quiet():
            estimator.predict(np.full((1, inputs), np.nan, dtype=np.float32))
    except ValueError:
        return False
    return True
