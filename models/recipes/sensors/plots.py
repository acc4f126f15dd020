"""The report's pictures. No time and no version goes into the files: same data, same bytes."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from . import humidity  # noqa: E402
from .anomaly import View  # noqa: E402
from .data import FIELDS, HUMIDITY, TEMPERATURE  # noqa: E402
from .faults import KINDS, STRENGTHS  # noqa: E402
from .split import runs  # noqa: E402

# Told apart by people who see few colours as well (Okabe and Ito).
COLOURS = {
    "drift": "#0072b2",
    "spike": "#e69f00",
    "noise": "#009e73",
    "battery": "#cc79a7",
    "stuck": "#000000",
}
GREY, RED = "#8a8a8a", "#d55e00"
LINES = {"temperature": "-", "humidity": "--", "voltage": "-", "light": ":"}
MARKS = {"drift": "o", "spike": "s", "noise": "^", "battery": "D", "stuck": "*"}

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "legend.frameon": False,
    }
)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _recall_lines(ax: Axes, table: list[dict[str, Any]], key: str, chance: float) -> None:
    for kind in KINDS:
        for field in FIELDS:
            rows = [r for r in table if r["fault"] == kind and r["field"] == field]
            rows = sorted((r for r in rows if r["strength"] > 0), key=lambda r: r["strength"])
            if rows:
                x, y = [r["strength"] for r in rows], [r[key] for r in rows]
                line = {"color": COLOURS[kind], "marker": MARKS[kind], "markersize": 4}
                ax.plot(x, y, **line, ls=LINES[field], label=f"{kind}, {field}")
    for r in table:
        if r["fault"] == "stuck":
            text = f"stuck, {r['field']} (has no strength)"
            ax.axhline(r[key], color=COLOURS["stuck"], lw=1, ls=LINES[r["field"]], label=text)
    ax.axhline(chance, color=GREY, lw=1, ls=":", label="readings that nobody broke")
    ax.axvspan(STRENGTHS[-1] * 1.4, 130, color=GREY, alpha=0.12, lw=0)
    ax.set(xscale="log", xlim=(0.4, 130), ylim=(-0.02, 1.02))
    ticks = [0.5, 1, 2, 4, 6, 12, 25, 50, 100]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("strength, in the sensor's own noise (sigma); grey: gross faults")


def status(found: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 5.2), sharey=True, layout="constrained")
    forest = found["test"]["forest"]
    # Stuck has no strength and stands in both tables; the gross one's is left out.
    table = forest["recall"] + [r for r in forest["recall_gross"] if r["strength"] > 0]
    alarms = forest["false_alarms"]
    _recall_lines(axes[0], table, "row_recall", alarms["row_rate"])
    _recall_lines(axes[1], table, "episode_recall", alarms["stretch_rate"] or 0)
    axes[0].set(title="Share of faulty readings called not ok", ylabel="recall")
    axes[1].set(title="Share of episodes in which at least one is")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    _save(figure, path)


def anomaly(figures: dict[str, Any], path: Path) -> None:
    """The held-out event, with twenty minutes on either side."""
    views: list[View] = figures["views"]
    at = next((i for i, v in enumerate(views) if v.sensor.label.any()), None)
    figure, axes = plt.subplots(3, 1, figsize=(9, 5.6), sharex=True, layout="constrained")
    if at is not None:
        sensor, score = views[at].sensor, figures["score"][at]
        first, last = runs(sensor.label)[0]
        side = round(1200 / sensor.period_s)
        rows = np.arange(max(first - side, 0), min(last + side, len(sensor)))
        minutes = (rows - first) * sensor.period_s / 60
        axes[0].plot(minutes, sensor.values[rows, TEMPERATURE], color=COLOURS["drift"], lw=1.2)
        axes[1].plot(minutes, sensor.values[rows, HUMIDITY], color=COLOURS["noise"], lw=1.2)
        axes[2].plot(minutes, score[rows], color="black", lw=1.2)
        axes[2].axhline(figures["threshold"], color=RED, lw=1, ls="--")
        axes[2].text(minutes[0], figures["threshold"] + 0.03, "threshold", color=RED)
        for ax in axes:
            ax.axvspan(0, (last - first) * sensor.period_s / 60, color=RED, alpha=0.15, lw=0)
        axes[0].set_title(f"The held-out event at {sensor.id}; shaded: labelled an anomaly")
    axes[0].set_ylabel("temperature, °C")
    axes[1].set_ylabel("humidity, %")
    axes[2].set(ylabel="probability", ylim=(-0.03, 1.03), xlabel="minutes since the event began")
    _save(figure, path)


def _scatter(ax: Axes, rows: humidity.Rows, said: np.ndarray) -> None:
    colours = dict(zip(sorted(set(rows.deployment)), COLOURS.values(), strict=False))
    for name, colour in colours.items():
        mine = np.flatnonzero(rows.deployment == name)
        mine = mine[:: max(1, len(mine) // 600)]  # enough to see, few enough for a small file
        ax.scatter(rows.y[mine], said[mine], s=5, color=colour, alpha=0.5, lw=0, label=name)
    low, high = float(min(rows.y.min(), said.min())), float(max(rows.y.max(), said.max()))
    ax.plot([low, high], [low, high], color=GREY, lw=1)
    ax.set(xlabel="measured, %", ylabel="said, %", title="Sensors that were held out")
    ax.legend(markerscale=3, loc="upper left")


def _bars(ax: Axes, found: dict[str, Any]) -> None:
    test, site = found["test"], found["a_model_a_site"]
    names = sorted(site)
    kinds = {
        "trees, one model for all": [test["trees"][n]["rmse"] for n in names],
        "linear, one for all": [test["linear"][n]["rmse"] for n in names],
        "mean of all": [test["mean"][n]["rmse"] for n in names],
        "trees, a model a site": [site[n]["trees"] for n in names],
        "the site's mean": [site[n]["mean"] for n in names],
    }
    colours = ("#0072b2", "#e69f00", GREY, "#56b4e9", "#c8c8c8")
    for k, ((label, values), colour) in enumerate(zip(kinds.items(), colours, strict=True)):
        ax.bar(np.arange(len(names)) + (k - 2) * 0.16, values, 0.15, color=colour, label=label)
    ax.set_xticks(np.arange(len(names)), names)
    ax.set(ylabel="RMSE, % relative humidity", title="By set")
    ax.legend()


def humidities(found: dict[str, Any], figures: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
    _scatter(axes[0], figures["rows"], figures["said"])
    _bars(axes[1], found)
    _save(figure, path)
