"""From a fitted estimator of scikit-learn to a bundle, exactly, or not at all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sklearn

from penstock_model import bundle, expression, library, quantize
from penstock_model.library import Steps, Taken
from penstock_model.model import (
    GOLDEN_MAX,
    INPUTS_MAX,
    NO_LEAF,
    Bundle,
    BundleError,
    Golden,
    Input,
    Kind,
    Linear,
    Missing,
    Rows,
    Task,
)
from penstock_model.quantize import ConvertError, Quantized

__all__ = ["ConvertError", "convert"]

Seconds = str | int | float  # "5m", or 300


def _duration(value: Seconds) -> int:
    return expression.duration_ns(value) if isinstance(value, str) else round(value * 1e9)


# --- inputs -------------------------------------------------------------------------------------


def _input(text: str, slides: dict[int, int]) -> Input:
    e = expression.parse(text)
    if not e.size_ns:
        return Input(str(e))
    if e.size_ns not in slides:
        raise ConvertError(f"{e}: windows names no slide of {expression.duration_text(e.size_ns)}")
    slide = slides[e.size_ns]
    if not 0 < slide <= e.size_ns or e.size_ns % slide:
        raise ConvertError(f"{e}: no multiple of its slide, {expression.duration_text(slide)}")
    if e.call == "slope" and slide == e.size_ns:
        raise ConvertError(f"{e}: a slope needs two panes; the slide is as long as the size")
    return Input(str(e), e.size_ns, slide)


def _inputs(texts: Sequence[str], windows: Mapping[Seconds, Seconds]) -> list[Input]:
    if not 1 <= len(texts) <= INPUTS_MAX:
        raise ConvertError(f"{len(texts)} inputs, 1 to {INPUTS_MAX} are allowed")
    try:
        slides = {_duration(size): _duration(slide) for size, slide in windows.items()}
        found = [_input(text, slides) for text in texts]
    except expression.ExpressionError as e:
        raise ConvertError(str(e)) from None
    names = [i.expression for i in found]
    for name in names:
        if names.count(name) > 1:
            raise ConvertError(f"{name} is an input twice")
    return found


def _with(i: Input, missing: Missing, imputed: float = 0.0) -> Input:
    return Input(i.expression, i.size_ns, i.slide_ns, missing, imputed)


# --- trees --------------------------------------------------------------------------------------


def _imputed(
    inputs: list[Input], steps: Steps, limits: list[np.ndarray], keys: list[np.ndarray]
) -> tuple[list[Input], np.ndarray]:
    """The inputs with the values that stand for missing ones; what the trees see of those."""
    nothing = np.full((1, len(inputs)), np.nan, dtype=np.float32)
    seen = steps(nothing)[0]
    candidates = [key[:1].tolist() for key in quantize.pull_back(steps, seen.reshape(-1, 1))]
    first = steps.first_imputed()
    if first is not None:
        candidates = [[int(quantize.key_of(v))] for v in first]
    found = []
    for i, spec in enumerate(inputs):
        key = quantize.imputed_key(limits[i], keys[i], float(seen[i]), candidates[i])
        if key is None:
            found.append(_with(spec, Missing.BRANCH))
        else:
            found.append(_with(spec, Missing.IMPUTED, float(quantize.float_of(key))))
    return found, seen


def _seen_left(tree: quantize.LibraryTree, seen: np.ndarray) -> quantize.LibraryTree:
    """Each branch told where the value goes that is put in."""
    feature = np.maximum(tree.feature, 0)
    parts = {**vars(tree), "missing_left": seen[feature] <= tree.threshold}
    return quantize.LibraryTree(**parts)


def _quantized(
    taken: Taken, steps: Steps, inputs: list[Input], missing: Missing
) -> tuple[list[Input], Quantized]:
    trees = taken.trees
    limits = quantize.thresholds(trees, len(inputs))
    keys = quantize.pull_back(steps, limits)
    if steps.imputes:
        inputs, seen = _imputed(inputs, steps, limits, keys)
        trees = [_seen_left(tree, seen) for tree in trees]
    else:
        inputs = [_with(i, missing) for i in inputs]
    own = [i.missing == Missing.BRANCH for i in inputs]
    return inputs, quantize.quantize(trees, limits, keys, own)


# --- linear models ------------------------------------------------------------------------------


def _unscaled(step: object, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of what goes into a scaler, and what it adds to the bias, by input."""
    n = weight.shape[1]
    offset, scale = np.zeros(n), np.ones(n)
    if isinstance(step, library.MinMaxScaler):
        if step.clip:
            raise ConvertError("MinMaxScaler(clip=True) in front of a linear model: not linear")
        return weight * step.scale_, weight * step.min_
    if isinstance(step, library.StandardScaler):
        offset = step.mean_ if step.with_mean else offset
        scale = step.scale_ if step.with_std else scale
    elif isinstance(step, library.RobustScaler):
        offset = step.center_ if step.with_centering else offset
        scale = step.scale_ if step.with_scaling else scale
    else:
        if getattr(step, "clip", False):
            raise ConvertError("MaxAbsScaler(clip=True) in front of a linear model: not linear")
        scale = step.scale_
    return weight / scale, -(weight / scale) * offset


def _folded(taken: Taken, steps: Steps) -> Linear:
    weight, bias = taken.weight, [[float(b)] for b in taken.bias]
    for place, step in reversed(list(enumerate(steps.steps))):
        if isinstance(step, library.SimpleImputer):
            if place:
                raise ConvertError("SimpleImputer behind a scaler: put it in front of all else")
            continue
        weight, more = _unscaled(step, weight)
        bias = [b + m.tolist() for b, m in zip(bias, more, strict=True)]
    return Linear(weight, np.array([math.fsum(b) for b in bias]))


def _linear_inputs(inputs: list[Input], steps: Steps) -> list[Input]:
    values = steps.first_imputed()
    if values is None:
        return inputs
    return [_with(i, Missing.IMPUTED, float(v)) for i, v in zip(inputs, values, strict=True)]


def _linear_rows(steps: Steps, x: np.ndarray) -> np.ndarray:
    """
    What the estimator sees: values are put in as float32, as the appliance has them; what follows
    is float64, for in float32 a scaler rounds more than a folded one.
    """
    with library.quiet():
        for step in steps.steps:
            keeps = isinstance(step, library.SimpleImputer)
            x = step.transform(x if keeps else x.astype(np.float64))
    return x.astype(np.float64)


# --- golden rows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fitted:
    estimator: object
    taken: Taken
    steps: Steps


def _golden_inputs(rows: np.ndarray, inputs: int) -> np.ndarray:
    with library.quiet():
        x = np.array(rows, dtype=np.float32)
    if x.ndim != 2 or x.shape[1] != inputs or not 1 <= len(x) <= GOLDEN_MAX:
        raise ConvertError(
            f"golden rows of shape {x.shape}: 1 to {GOLDEN_MAX} rows of {inputs} inputs are needed"
        )
    x[~np.isfinite(x)] = np.nan
    return x


def _golden(f: _Fitted, x: np.ndarray, inputs: Sequence[Input], found: Quantized | None) -> Golden:
    refused = [i.missing == Missing.REFUSED for i in inputs]
    asked = ~np.isnan(x[:, refused]).any(axis=1)
    trees = len(f.taken.trees)
    leaf = np.full((len(x), trees), NO_LEAF, dtype=np.uint32)
    out = np.full((len(x), len(f.taken.start)), np.nan)
    if asked.any():
        seen = f.steps(x[asked]) if found else _linear_rows(f.steps, x[asked])
        out[asked] = library.says(f.estimator, f.taken.task, seen) + 0.0
        if found:
            theirs = f.taken.leaves(seen).astype(np.int64)
            ours = [local[theirs[:, n]] for n, local in enumerate(found.local)]
            leaf[asked] = np.stack(ours, axis=1).astype(np.uint32)
    return Golden(x, leaf, out)


# --- the whole ----------------------------------------------------------------------------------


def _labels(estimator: object, classes: Sequence[str] | None) -> tuple[str, ...]:
    own = getattr(estimator, "classes_", None)
    if own is None:
        if classes:
            raise ConvertError(f"{library.name_of(estimator)} has no classes to label")
        return ()
    labels = tuple(str(c) for c in (own if classes is None else classes))
    if len(labels) != len(own):
        raise ConvertError(f"{len(labels)} class labels for {len(own)} classes")
    return labels


def _missing(estimator: object, steps: Steps, inputs: int, wanted: str | None) -> Missing:
    if wanted not in (None, "refused", "branch"):
        raise ConvertError(f"missing={wanted!r}: there are 'refused' and 'branch'")
    if steps.imputes:
        if wanted:
            raise ConvertError(f"missing={wanted!r}, but an imputer leaves nothing missing")
        return Missing.IMPUTED
    natural = type(estimator) in library.HISTOGRAMS
    if wanted == "refused" or not (wanted or natural):
        return Missing.REFUSED
    if type(estimator) in library.LINEAR or not library.takes_missing(estimator, inputs):
        raise ConvertError(f"{library.name_of(estimator)} takes no missing values: impute them")
    return Missing.BRANCH


def _require(what: str, given: Mapping, keys: Sequence[str]) -> None:
    for key in keys:
        if not given.get(key):
            raise ConvertError(f"{what} must name {key!r}")


def _provenance(f: _Fitted, given: Mapping) -> dict:
    return {
        "library": "scikit-learn",
        "library_version": sklearn.__version__,
        "estimator": library.name_of(f.estimator),
        "steps": [library.name_of(step) for step in f.steps.steps],
        **given,
    }


def _check_width(f: _Fitted, inputs: int) -> None:
    for thing in (*f.steps.steps, f.estimator):
        if thing.n_features_in_ != inputs:
            raise ConvertError(
                f"{library.name_of(thing)} takes {thing.n_features_in_} inputs, {inputs} are named"
            )


def convert(
    estimator: object,
    inputs: Sequence[str],
    *,
    name: str,
    version: int,
    metrics: Mapping,
    provenance: Mapping,
    golden_rows: np.ndarray,
    windows: Mapping[Seconds, Seconds] | None = None,
    classes: Sequence[str] | None = None,
    unit: str = "",
    threshold: float = 0.5,
    missing: str | None = None,
    rows: str = "readings",
) -> Bundle:
    """
    The bundle of a fitted estimator or pipeline, whose columns are `inputs`, asked with float32.

    windows: slide of each window size that the inputs name, {"5m": "1m"}; golden_rows: [n, inputs],
    what the library says of them goes along; metrics names "data", provenance "recipe" and
    "data_sha256"; classes: labels, else the library's; threshold: of a binary model; missing:
    "refused", or "branch" where the fitted trees say themselves where a missing value goes (the
    default of HistGradientBoosting); rows: "readings" or "windows". ConvertError names what cannot
    be converted exactly.
    """
    if rows not in ("readings", "windows"):
        raise ConvertError(f"rows={rows!r}: there are 'readings' and 'windows'")
    _require("metrics", metrics, ["data"])
    _require("provenance", provenance, ["recipe", "data_sha256"])
    specs = _inputs(inputs, windows or {})
    steps, last = library.split(estimator)
    fitted = _Fitted(last, library.take(last), steps)
    _check_width(fitted, len(specs))
    how = _missing(last, steps, len(specs), missing)
    found = linear = None
    if fitted.taken.kind == Kind.LINEAR:
        linear, specs = _folded(fitted.taken, steps), _linear_inputs(specs, steps)
    else:
        specs, found = _quantized(fitted.taken, steps, specs, how)
    made = Bundle(
        name=name,
        version=version,
        kind=fitted.taken.kind,
        task=fitted.taken.task,
        rows=Rows.WINDOWS if rows == "windows" else Rows.READINGS,
        inputs=tuple(specs),
        bins=found.bins if found else (),
        trees=found.trees if found else None,
        linear=linear,
        start=fitted.taken.start,
        classes=_labels(last, classes),
        threshold=threshold if fitted.taken.task == Task.BINARY else 0.0,
        unit=unit,
        metrics=dict(metrics),
        golden=_golden(fitted, _golden_inputs(golden_rows, len(specs)), specs, found),
        provenance=_provenance(fitted, provenance),
    )
    try:
        bundle.write(made)
    except BundleError as e:
        raise ConvertError(f"{name}: {e}") from None
    return made
