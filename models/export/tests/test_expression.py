"""
Input expressions. What breaks if they fail: a bundle whose inputs the appliance reads differently
from those that the model was trained on.
"""

import pytest
from penstock_model.expression import ExpressionError, canonical, duration_ns, duration_text, parse

CANONICAL = [
    ("temperature", "temperature"),
    (" temperature ", "temperature"),
    ("hour", "hour"),  # a field of that name
    ("hour()", "hour()"),
    ("weekday( )", "weekday()"),
    ("mean(temperature, 300s)", "mean(temperature,5m)"),
    ("std( x ,60m)", "std(x,1h)"),
    ("min(x,90s)", "min(x,90s)"),
    ("max(x,24h)", "max(x,1d)"),
    ("last(x,1000ms)", "last(x,1s)"),
    ("count(x,0005m)", "count(x,5m)"),
    ("zscore(x,1500us)", "zscore(x,1500us)"),
    ("slope(x,7ns)", "slope(x,7ns)"),
    ("delta(x)", "delta(x)"),
    ("ratio(x, y.z-1/2)", "ratio(x,y.z-1/2)"),
    ("mean(Größe,5m)", "mean(Größe,5m)"),
]

REFUSED = [
    "",
    " ",
    "mean()",
    "mean(x)",
    "mean(x,5m,1m)",
    "mean(x,)",
    "mean(,5m)",
    "mean(x,5)",
    "mean(x,5 m)",
    "mean(x,0s)",
    "mean(x,-5m)",
    "mean(x,5.5m)",
    "mean(x,5M)",
    "mean(x,9999999999999d)",
    "mean(x,5m",
    "mean(x,5m))",
    "mean((x),5m)",
    "Mean(x,5m)",
    "median(x,5m)",
    "lag(x,1h,168)",
    "hour(x)",
    "delta()",
    "delta(x,y)",
    "ratio(x)",
    "ratio(x,y,z)",
    "x,y",
    "x y",
    "(x)",
    'x"',
    "x\\y",
    "x\n",
    "x\x7f",
    "x\u0085",
    "x\ud800",
    "x" * 33,
    "mean(" + "ö" * 17 + ",5m)",
]


@pytest.mark.parametrize(("text", "wanted"), CANONICAL)
def test_one_text_for_one_meaning(text: str, wanted: str) -> None:
    assert canonical(text) == wanted
    assert canonical(wanted) == wanted, "the canonical form of itself"


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_parts_are_told() -> None:
    e = parse("zscore(x, 300s)")
    assert (e.call, e.fields, e.size_ns) == ("zscore", ("x",), 300 * 10**9)
    e = parse("mean")
    assert (e.call, e.fields, e.size_ns) == ("", ("mean",), 0)


def test_durations_are_those_of_the_config() -> None:
    """`penstock check` and window names write them so."""
    for ns, text in [
        (1, "1ns"),
        (1500, "1500ns"),
        (10**9, "1s"),
        (90 * 10**9, "90s"),
        (3600 * 10**9, "1h"),
        (36 * 3600 * 10**9, "36h"),
        (2 * 86400 * 10**9, "2d"),
    ]:
        assert duration_text(ns) == text and duration_ns(text) == ns
