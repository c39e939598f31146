"""The figures of the study of frequency bias: scores against the favoured band, and the maps of Figure 3."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fourierft
from experiments import style
from experiments.studies import measures, views

CENTRES, WIDTH, SIDE = (0, 100, 200, 350, 480), 200, 768  # of the paper's Figure 3, in bins
NO_BIAS = "no bias"


def draw(axes: Axes, groups: measures.Groups, metric: str) -> None:
    """The view: scores against the favoured central frequency, and the level of no bias."""
    series = {band[0]: measures.scores(runs) for band, runs in groups.items() if band}
    views.lines(axes, {"favoured band": series}, "favoured central frequency (bins)")
    if () in groups:
        views.level(axes, NO_BIAS, measures.scores(groups[()]), 1)


def maps() -> Figure:
    """Figure 3: the probability of each position under Equation 5, with the zero frequency in the middle."""
    figure, panels = style.panels([f"centre {centre}" for centre in CENTRES], height=1.7, across=len(CENTRES))
    half = SIDE // 2
    for axes, centre in zip(panels, CENTRES, strict=True):
        probability = (
            fourierft.band_log_probability((SIDE, SIDE), centre, WIDTH).exp().roll((half, half), (0, 1)).numpy()
        )
        image = axes.imshow(probability, cmap="cividis", vmin=0, vmax=1, extent=(-half, half, half, -half))
        axes.set_xticks([-half, 0, half])
        axes.set_yticks([-half, 0, half], [] if centre else None)
        axes.grid(visible=False)
        axes.set_xlabel("v (bins)")
    panels[0].set_ylabel("u (bins)")
    bar = figure.colorbar(image, ax=panels, shrink=0.7, pad=0.01)
    bar.set_label("probability / largest")
    figure.suptitle(f"Equation 5, {SIDE} × {SIDE}, width {WIDTH} bins")
    return figure
