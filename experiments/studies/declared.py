"""The studies that are sweeps: what tells their settings apart, how they are drawn, and what is asked of them."""

from functools import partial
from typing import Any

from experiments.record import Record
from experiments.studies import bands, measures, questions, views
from experiments.studies.plan import Planned
from experiments.studies.questions import Question
from experiments.studies.sweep import Sweep

SIZES = {"fourierft": "n", "lora": "r"}
BASES = ("fourier", "dct", "hartley", "haar", "orthogonal", "random", "identity")
TRIED = ("random", "orthogonal")  # by the paper


def _of(run: Record | Planned, key: str, default: Any = None) -> Any:
    """A setting of the method, as the record or the plan has it."""
    return run.config["method"].get(key, default)


SCALING = Sweep(
    name="scaling",
    title="Scaling with n (Figure 4)",
    setting=lambda run: (run.method, _of(run, SIZES[run.method])),
    labels=("Method", "Size"),
    label=lambda setting: (setting[0], f"{SIZES[setting[0]]}={setting[1]}"),
    view=views.against(measures.per_matrix, "trained parameters of a matrix"),
    notes=(measures.NOTE, "Each size of each method had a search of its own, with the same number of trials."),
    questions=(
        Question("Scaling with n", "More coefficients help FourierFT consistently (Figure 4).", questions.helps),
        Question(
            "Equal parameters",
            "With as many parameters FourierFT is above LoRA, on six of six tasks (Figure 4: n=6144 and 12288 against "
            "r=4 and 8).",
            questions.is_above_lora,
        ),
        Question(
            "Fewest parameters",
            "With 31 times fewer parameters n=50 is level with LoRA r=1 or better, on MRPC, CoLA, RTE (Figure 4).",
            questions.smallest_is_level,
            ("glue_mrpc", "glue_cola", "glue_rte"),
        ),
    ),
)

BIAS = Sweep(
    name="bias",
    title="Frequency bias (Figure 5)",
    setting=lambda run: tuple(_of(run, "band") or ()),
    labels=("Centre", "Width"),
    label=lambda band: [f"{bins:g}" for bins in band] or [bands.NO_BIAS, ""],
    view=bands.draw,
    maps=lambda: {"maps": bands.maps()},
    notes=(
        measures.NOTE,
        "Centre and width are distances to the zero frequency in bins (Equation 5); every band has the rates of no "
        "bias, as in the paper.",
    ),
    questions=(
        Question("Frequency bias", "No bias beats most favoured bands (Figure 5).", questions.most_bands_are_below),
        Question(
            "Best frequency",
            "For every task some favoured band beats no bias (Figure 5).",
            questions.one_band_is_above,
        ),
    ),
)

BASIS = Sweep(
    name="basis",
    title="Basis (Table 6)",
    setting=lambda run: (_of(run, "basis", "fourier"),),
    order=lambda setting: BASES.index(setting[0]),
    labels=("Basis",),
    header=(*measures.HEADER, "Against Fourier"),
    cells=lambda runs, groups: [*measures.cells(runs), measures.drop(runs, groups.get(("fourier",)))],
    view=views.dots,
    across=2,
    notes=(
        measures.NOTE,
        "Every basis has the same positions, n, scale and search: its vectors are of unit norm (random: in the mean), "
        "so that ΔW starts out equally large. identity: positions of ΔW itself, no transform. The drop is relative, as "
        "in the paper, which prints 3.4 to 8.1 % for the random and 1.5 to 6.0 % for the orthogonal basis.",
    ),
    questions=(
        Question(
            "Basis",
            "The Fourier basis beats a random and an orthogonal one: on RTE with RoBERTa-base 79.1 against 72.7 and "
            "75.6 (Table 6).",
            questions.fourier_beats(TRIED),
        ),
        Question(
            "Other bases",
            "Does Fourier beat the bases that the paper does not try too: cosines, Hartley, Haar, no transform?",
            questions.fourier_beats([basis for basis in BASES[1:] if basis not in TRIED]),
            is_open=True,
        ),
    ),
)

CURVES = Sweep(
    name="curves",
    title="Training curves (Figure 6)",
    setting=lambda run: (run.method,),
    labels=("Method",),
    metrics=lambda groups: measures.of_every_epoch(groups.runs),
    view=views.by_epoch,
    notes=(measures.NOTE, "The rates are the recipes', found at other sizes, r=8 and n=1000."),
    questions=(
        Question(
            "Training curves",
            "With as many parameters (LoRA r=1) FourierFT is better throughout training, in score and in loss (Figure "
            "6, MRPC).",
            questions.is_better_throughout,
        ),
    ),
)

INITIALISATION = Sweep(
    name="initialisation",
    title="Initialisation",
    setting=lambda run: (_of(run, "init"),),
    labels=("Initial",),
    view=views.by_epoch,
    notes=(measures.NOTE, "The rates are those of the recipe, found with normal."),
    questions=(
        Question(
            "Initialisation",
            "The paper starts from N(0, 1), so that ΔW is not zero at the start. Is that better than zeros?",
            questions.normal_beats_zeros,
            is_open=True,
        ),
    ),
)

LUCK = Sweep(
    name="luck",
    title="Luck in the positions",
    # The run that both have, with seed 0, is of the former alone: a test takes them as independent.
    setting=lambda run: (questions.TRAINING if run.seed else questions.POSITIONS,),
    pooled=("entry_seed",),
    labels=("Seeds",),
    header=("Runs", "Lowest", "Median", "Highest", "Standard deviation"),
    cells=lambda runs, groups: measures.extremes(runs),
    view=partial(views.dots, counted=True),
    notes=(
        "positions vary: the seed of the entries, with one seed of training (coefficients at the start, head, order of "
        "the data). training varies: that seed, with the paper's positions, 2024. Scores in percent, best epoch.",
        "Deviations are of samples. Their ratio is judged by Levene's test of equal spreads.",
    ),
    questions=(
        Question(
            "Luck in the positions",
            "The paper draws its positions once. Does a score hang on them less than on the seed of training?",
            questions.positions_matter_less,
            is_open=True,
        ),
    ),
)

GRID = Sweep(
    name="grid",
    title="Positions on a grid",
    setting=lambda run: (_of(run, "entries", "random"), _of(run, "n")),
    labels=("Positions", "n"),
    header=(*measures.HEADER, "Rank"),
    cells=lambda runs, groups: [*measures.cells(runs), f"{runs[0].rank.summary.numerical_rank.median:g}"],
    view=views.against(lambda run: _of(run, "n"), "n, coefficients of a matrix"),
    notes=(
        measures.NOTE,
        "Rank: the median numerical rank of ΔW; a grid of a × b positions has at most 2 min(a, b). What a grid saves "
        "in time and memory stands with the speed of a training step.",
    ),
    questions=(
        Question(
            "Positions on a grid",
            "Beyond the paper: do positions on a grid score no worse than random ones, at equal n?",
            questions.grid_is_level,
            is_open=True,
        ),
    ),
)
