"""The figure of the study of memory: the least that a step holds, and the printed and measured peaks."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.names import name
from experiments.paper.printed import Peak
from experiments.paper.score_tables import TABLE2
from experiments.report.speed import GIB
from experiments.studies.memory.footprint import TASKS, Footprint
from experiments.style import COLOURS, blank, legend

PARTS = {"weights": "0.75", "AdamW's states": COLOURS[4], "saved for the backward pass": COLOURS[5]}
CARD = 24  # GiB of the page's RTX 4090


def draw(found: Mapping[str, Footprint], printed: Sequence[Peak]) -> Figure:
    """A panel per task with a bar per method."""
    figure = blank(4.6)
    panels = figure.subplots(2, 3, sharey=True)
    for axes, task in zip(panels.flat, TASKS, strict=True):
        _draw_panel(axes, found, task, [one for one in printed if one.task == task])
    for axes in panels[1]:
        axes.set_xlabel("GiB")
    named = {}
    for axes in panels.flat:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    labels = [*PARTS, *(label for label in named if label not in PARTS)]
    legend(figure, [named[label] for label in labels], labels)
    return figure


def _draw_panel(axes: Axes, found: Mapping[str, Footprint], task: str, printed: Sequence[Peak]) -> None:
    rows = {method: row for row, method in enumerate(found)}
    steps = [one.steps[task] for one in found.values()]
    left = [0.0] * len(steps)
    saved = [step.least_bytes - step.weight_bytes - step.state_bytes for step in steps]
    sizes = [[step.weight_bytes for step in steps], [step.state_bytes for step in steps], saved]
    for (label, colour), values in zip(PARTS.items(), sizes, strict=True):
        widths = [value / GIB for value in values]
        axes.barh(list(rows.values()), widths, 0.72, left=left, color=colour, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    peaks = [(row, step.gpu.peak_bytes / GIB) for row, step in enumerate(steps) if step.gpu and step.gpu.peak_bytes]
    if peaks:
        y, x = zip(*peaks, strict=True)
        axes.plot(x, y, "|", color="black", markersize=9, label="peak, measured")
    pages = [(rows[one.method], one.mb / 1024) for one in printed if one.mb != "OOM" and one.method in rows]
    if pages:
        y, x = zip(*pages, strict=True)
        axes.plot(x, y, "D", color=COLOURS[1], markeredgecolor="white", markersize=5, label="peak, printed on the page")
    for one in printed:
        if one.mb == "OOM" and one.method in rows:
            axes.text(left[rows[one.method]], rows[one.method], " page: OOM", va="center", color=COLOURS[1])
    right = 1.08 * max([*left, *(x for _, x in [*pages, *peaks])])
    if right > CARD / 1.2:
        axes.axvline(CARD, color="0.3", linestyle=":", linewidth=1, label=f"{CARD} GiB, the page's GPU")
    axes.set(xlim=(0, right * (1.25 if not pages else 1)), yticks=range(len(found)), ylim=(len(found) - 0.5, -0.5))
    axes.set_yticklabels(map(name, found))
    step = steps[0]
    axes.set_title(f"{TABLE2.headings[task]}, {step.batch} × {step.tokens} tokens")
    axes.grid(visible=False, axis="y")
