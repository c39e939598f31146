"""A table of scores from hand-made records: what stands where, beside which numbers, and with which command."""

import statistics

import pytest
import yaml

from experiments.paper.score_tables import HELD_OUT, TABLE2, TABLE3, TABLE4, TABLE5
from experiments.report import render, scores
from experiments.report.aggregate import rows
from tests.handmade import PAPER, PRINTED, e2e, five_images, graded, image, instruct, run, three_e2e

IMAGES = [column.exp for column in TABLE5.columns]
SEEDS = "seed=7,77,777,7777,77777"


@pytest.fixture
def configs(tmp_path):
    """Recipes of two methods on ViT-base; n=3000 is FourierFT's usual size, LoRA's are for two sets."""
    folder = tmp_path / "recipe" / "vit_base"
    folder.mkdir(parents=True)
    (folder / "fourierft.yaml").write_text("method: { n: 3000 }\nrecipe: { lr: 1.0 }")
    (folder / "lora.yaml").write_text("cells: { vit_dtd_10: { lr: 1.0 }, vit_cifar: { lr: 1.0 } }")
    return tmp_path


@pytest.fixture
def page(configs):
    """page(records, scale) -> the lines of a table's Markdown, by default of Table 5's."""

    def page(found, scale="paper", table=TABLE5):
        return (
            scores.page(table, scale, rows(found), PRINTED.get(table.key, []), configs)
            .texts[f"{table.key}_{scale}.md"]
            .splitlines()
        )

    return page


def commands_of(lines):
    return [line for line in lines if line.startswith("python run.py")]


# --- what is printed -------------------------------------------------------------------------------------------------


def test_the_papers_averages_agree_with_its_scores():
    assert len(PRINTED[TABLE2.key]) == 15
    for row in PRINTED[TABLE2.key]:
        assert list(row.median) == [column.key for column in TABLE2.columns]
        # Printed to one decimal: both the scores and their mean are off by half a tenth at most.
        assert abs(statistics.mean(row.median.values()) - row.avg) <= 0.0501
        assert not row.std or row.std.keys() == row.median.keys()
    assert len(PRINTED[TABLE5.key]) == 10
    for row in PRINTED[TABLE5.key]:
        assert list(row.mean) == [column.key for column in TABLE5.columns] == list(row.std)
    for row in PRINTED[TABLE3.key]:
        assert list(row.mean) == [column.key for column in TABLE3.columns] and row.avg is None
    for row in PRINTED[TABLE4.key]:
        assert list(row.mean) == [column.key for column in TABLE4.columns] == list(row.std) and row.avg is None


def test_a_column_s_number_is_printed_for_its_own_experiment():
    for table in (TABLE2, TABLE5):
        for column in table.columns:
            assert column.exp.partition("_")[2] == ("cifar" if column.key == "cifar10" else column.key)
    for column in TABLE3.columns + TABLE3.extra:
        assert (column.exp, column.metric) == ("e2e", column.key)
    for column in TABLE4.columns:
        assert (column.exp, column.metric) == ("instruct", column.key)


def test_headings_are_the_papers():
    for table in (TABLE2, TABLE3, TABLE4, TABLE5):
        metrics = yaml.safe_load((PAPER / f"{table.key}.yaml").read_text())["metrics"]
        assert list(metrics) == [column.key for column in table.columns]
        if table is not TABLE2:  # whose metrics are of several kinds
            assert list(metrics.values()) == [column.heading for column in table.columns]


def test_a_row_stands_beside_the_same_settings_only():
    def printed(**changes):
        return rows([run(**changes)])[0].printed(PRINTED[TABLE2.key])

    assert printed(n=1000).params == "0.024M"
    assert printed(n=200) is None
    assert printed(n=1000, scale="small") is None
    assert printed(method="head_only") is None
    assert printed(method="adapter_drop", r=48, drop=0).params == "0.9M"
    assert printed(method="adapter_drop", r=48, drop=8).params == "0.3M"
    assert printed(method="adapter_drop", r=64, drop=0) is None


# --- images ----------------------------------------------------------------------------------------------------------


def test_without_records_the_papers_images_stand_with_dashes_and_commands(page):
    lines = page([])
    assert sum("| paper |" in line for line in lines) == 10
    ours = [line for line in lines if "| ours |" in line]
    assert len(ours) == 10 and all(line.endswith("| ours " + "| — " * 12 + "|") for line in ours)
    assert "| vit_base | head_only | paper | — | — | 90.28 ± 0.43 |" in "\n".join(lines)
    start = "python run.py -m +exp="
    assert commands_of(lines) == [
        f"{start}vit_cifar scale=paper model=vit_base method=lora {SEEDS}",
        f"{start}{','.join(IMAGES)} scale=paper model=vit_base method=fourierft {SEEDS}",
        f"{start}{','.join(IMAGES)} scale=paper model=vit_base method=fourierft method.n=10000 {SEEDS}",
    ], "both sizes, the recipe's own without a word; a part of a set is none of the paper's"


def test_our_images_stand_below_the_papers_with_the_difference_and_each_size_on_its_own(page):
    found = [one for exp in IMAGES for one in five_images([0.9] * 5, exp=exp, n=10000, adapter=240_000)]
    lines = page(found)
    smaller = lines.index(next(line for line in lines if "vit_base | fourierft (n=3000) | ours" in line))
    assert lines[smaller].endswith("| ours " + "| — " * 12 + "|")
    assert "fourierft (n=10000) | paper | 239K" in lines[smaller + 1], "the paper's order of sizes"
    start = "| vit_base | fourierft (n=10000) | ours | 240,000 | 592,130 | 90.00 ± 0.00 ×5 (−3.05) |"
    assert lines[smaller + 2].startswith(start) and lines[smaller + 2].endswith("| 90.00 (+9.71) | — |")
    assert any(line.endswith(f"method.n=10000 {SEEDS}") for line in commands_of(lines))
    assert "# vit_base, fourierft (n=10000): 40 of 40 runs recorded" in lines


def test_the_legend_tells_statistic_and_seeds(page):
    text = "\n".join(page([image()]))
    assert "the mean and the population standard deviation (n) over k seeds, in percent" in text
    assert "† not all of the paper's five seeds." in text and "7, 77, 777, 7777 and 77777" in text
    glue = scores.page(TABLE2, "paper", [], PRINTED[TABLE2.key], PAPER).texts["table2_glue_paper.md"]
    assert "the median and the sample standard deviation (n-1)" in glue and "test set" not in glue and "§" not in glue


SMALL = """\
# Table 5, ViT on image sets, small scale

## test accuracy of the epoch that is best on validation (the paper's protocol)

| Model | Method | By | Adapter | Head | EuroSAT | DTD, 10 classes | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- |
| vit_base | lora (r=16) | ours | 24,000 | 592,130 | 1 OOM | 70.00 ×1† | — |
| vit_base | fourierft (n=10000) | ours | 24,000 | 592,130 | — | 79.00 ± 1.00 ×2† | 4 |

## test accuracy of the last epoch

| Model | Method | By | Adapter | Head | EuroSAT | DTD, 10 classes | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- |
| vit_base | lora (r=16) | ours | 24,000 | 592,130 | 1 OOM | 45.00 ×1† | — |
| vit_base | fourierft (n=10000) | ours | 24,000 | 592,130 | — | 45.00 ± 0.00 ×2† | 4 |

## training time of a run, images a second (of the loader alone), and best epoch (medians over seeds)

| Model | Method | EuroSAT | DTD, 10 classes | Device |
| --- | --- | --- | --- | --- |
| vit_base | lora (r=16) | — | 1.5 min, 3/s, epoch 3 | A CPU |
| vit_base | fourierft (n=10000) | — | 1.5 min, 3/s (212), epoch 3 | A CPU |
"""


def test_at_other_scales_stand_the_columns_that_have_a_record(page):
    part = {"exp": "vit_dtd_10", "scale": "small", "n": 10000, "trials": 4}
    fast = [image(0.78, **part), image(0.80, seed=77, **part)]
    fast = [
        one.model_copy(update={"cost": one.cost.model_copy(update={"loader_samples_per_s": rate})})
        for one, rate in zip(fast, (210.0, 214.0), strict=True)
    ]
    lora = {"method": "lora", "scale": "small"}
    lines = page([*fast, image(0.7, exp="vit_dtd_10", **lora), image(status="oom", exp="vit_eurosat", **lora)], "small")
    assert "\n".join(lines).startswith(SMALL)
    found = commands_of(lines)
    assert found[0].startswith("python run.py -m +exp=vit_cifar,vit_dtd_10 scale=small model=vit_base method=lora seed")
    assert "method.n=10000" in found[1], "not the recipe's usual size"


def test_a_latex_table_names_its_scale_and_its_block(configs):
    tex = scores.page(TABLE5, "paper", [], PRINTED[TABLE5.key], configs).texts["table5_vit_paper.tex"]
    assert r"\caption{Table 5, ViT on image sets, paper scale: test accuracy of the epoch" in tex
    assert r"90.28 $\pm$ 0.43" in tex


# --- texts: every column is of one experiment ------------------------------------------------------------------------


TEXTS = """\
# Table 3, GPT-2 on E2E NLG, small scale

## test scores of the last epoch (the paper's protocol)

| Model | Method | By | Adapter | Head | BLEU | NIST | METEOR | ROUGE-L | CIDEr | METEOR (nltk) | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| gpt2_tiny | lora (r=4) | ours | 24,000 | 0 | 63.0 ×1† | 6.30 ×1† | — | 73.0 ×1† | 2.52 ×1† | 83.0 ×1† | — |
| gpt2_tiny | fourierft (n=1000) | ours | 24,000 | 0 | 60.5 ± 0.7 ×2† | 6.05 ± 0.07 ×2† | 41.0 ×1† | 70.5 ± 0.7 ×2† | \
2.42 ± 0.03 ×2† | 80.5 ± 0.7 ×2† | — |

## test scores of the epoch that is best on validation

| Model | Method | By | Adapter | Head | BLEU | NIST | METEOR | ROUGE-L | CIDEr | METEOR (nltk) | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| gpt2_tiny | lora (r=4) | ours | 24,000 | 0 | 50.0 ×1† | 5.00 ×1† | — | 60.0 ×1† | 2.00 ×1† | 70.0 ×1† | — |
| gpt2_tiny | fourierft (n=1000) | ours | 24,000 | 0 | 50.0 ± 0.0 ×2† | 5.00 ± 0.00 ×2† | 30.0 ×1† | 60.0 ± 0.0 ×2† | \
2.00 ± 0.00 ×2† | 70.0 ± 0.0 ×2† | — |

## training time of a run, rows a second (of the loader alone), and best epoch (medians over seeds)

| Model | Method | e2e | Device |
| --- | --- | --- | --- |
| gpt2_tiny | lora (r=4) | 1.5 min, 3/s, epoch 3 | A CPU |
| gpt2_tiny | fourierft (n=1000) | 1.5 min, 3/s, epoch 3, up to 7 unfinished | A CPU |

- a ± s ×k: the mean and the sample standard deviation (n-1) over k seeds, in percent, but for NIST and CIDEr. \
"""


def test_one_experiment_fills_a_row_and_its_cost_stands_once(page):
    small = {"scale": "small", "model": "gpt2_tiny", "head": 0}
    ours = [e2e(0.60, unfinished=(7, 2), lacks=["meteor"], **small), e2e(0.61, seed=11111, **small)]
    lines = page([*ours, e2e(0.63, method="lora", lacks=["meteor"], **small)], "small", TABLE3)
    assert "\n".join(lines).startswith(TEXTS)


def test_our_texts_stand_below_the_papers_and_a_metric_of_ours_beside_a_dash(page):
    lines = page(three_e2e([0.62] * 3), table=TABLE3)
    place = next(i for i, line in enumerate(lines) if "fourierft (n=1000) | ours" in line)
    cells = ["62.0 ± 0.0 ×3 (−7.1)", "6.20 ± 0.00 ×3 (−2.62)", "42.0 ± 0.0 ×3 (−5.0)", "72.0 ± 0.0 ×3 (+0.2)"]
    cells += ["2.48 ± 0.00 ×3 (−0.03)", "82.0 ± 0.0 ×3", "—"]
    assert lines[place].endswith(f"| {' | '.join(cells)} |")
    assert lines[place - 1].endswith("| 71.8 ± 0.1 | 2.51 ± 0.02 | — | — |")
    assert sum("| paper |" in line for line in lines) == 11
    assert sum(line.endswith("| ours " + "| — " * 9 + "|") for line in lines) == 10, "the other rows were not run"
    assert lines[-1].endswith("in points, but for NIST and CIDEr."), "and there is no command without a recipe"


def test_a_row_of_texts_is_one_run_a_seed(page, configs):
    folder = configs / "recipe" / "gpt2_medium"
    folder.mkdir()
    (folder / "adapter_lin.yaml").write_text("recipe: { lr: 1.0 }")
    lines = page(three_e2e(method="adapter_lin", r=6)[:2], table=TABLE3)
    start = "python run.py -m +exp=e2e scale=paper model=gpt2_medium method=adapter_lin"
    assert commands_of(lines) == [f"{start} method.r={r} seed=0,11111,22222" for r in (6, 224)]
    assert "# gpt2_medium, adapter_lin (r=6): 2 of 3 runs recorded" in lines


# --- answers: a judge scores them, and losses of our own -------------------------------------------------------------


@pytest.fixture
def llama(configs):
    """A recipe of LoRA on LLaMA2-7B."""
    folder = configs / "recipe" / "llama2_7b"
    folder.mkdir()
    (folder / "lora_qv.yaml").write_text("method: { r: 64 }")


COMMANDS = [
    "python run.py -m +exp=instruct scale=paper model=llama2_7b method=lora_qv seed=0,11111,22222",
    "python -m scripts.judge results/records/instruct/llama2_7b/lora_qv/*.json",
]


def test_without_a_judge_the_papers_answers_stand_with_dashes_and_two_commands_a_row(page, llama):
    lines = page([], table=TABLE4)
    assert [line for line in lines if line.startswith("## ")] == [
        "## scores of the last epoch's answers; judge: none so far",
        "## Commands",
    ]
    assert sum("| paper |" in line for line in lines) == 12
    assert sum(line.endswith("| ours " + "| — " * 5 + "|") for line in lines) == 12
    assert "| llama2_7b | lora_qv (r=64) | paper | 33.5M | — | 5.20 ± 0.3 | 7.35 ± 0.6 | — |" in lines
    assert [line for line in lines if line.startswith("python ")] == COMMANDS
    assert "how many runs there were" in "\n".join(lines) and "out of 10." in "\n".join(lines)


def test_each_judge_has_a_block_of_its_own_beside_the_papers_numbers_without_a_difference(page, llama):
    runs = [instruct(seed=seed, head=0, method="lora_qv") for seed in (0, 11111)]
    found = [graded(run, 5.0 + index, 7.0) for index, run in enumerate(runs)]
    lines = page([*found, graded(runs[0], vicuna=9.0, name="b", revision=None, failures=0)], table=TABLE4)
    titles = [line for line in lines if line.startswith("## ")][:2]
    start = "## scores of the last epoch's answers; judge:"
    assert titles == [
        f"{start} a-judge, revision 1, prompts 0123abcd, rule fastchat; judgments: 480, without a score: 4",
        f"{start} b, revision not given, prompts 0123abcd, rule fastchat; judgments: 240, without a score: 0",
    ]
    line = "| llama2_7b | lora_qv (r=64) | ours | 24,000 | 0 |"
    ours = [index for index, text in enumerate(lines) if text.startswith(line)]
    assert [lines[index].removeprefix(line) for index in ours] == [
        " 5.50 ± 0.71 ×2† | 7.00 ± 0.00 ×2† | — |",
        " — | 9.00 ×1† | — |",
    ]
    assert all("| paper | 33.5M |" in lines[index - 1] for index in ours)
    assert "In brackets" not in "\n".join(lines)
    assert [line for line in lines if line.startswith("python ")] == COMMANDS, "once, whatever the judges"


LOSSES = """\
# Instruction tuning, held-out loss, mini scale

## test loss of an answer's token, last epoch

| Model | Method | By | Adapter | Head | Loss | Exact answers | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- |
| llama_mini | fourierft (n=1000) | ours | 24,000 | 0 | 1.250 ± 0.071 ×2† | 50.0 ± 0.0 ×2† | — |
| llama_mini | full | ours | 24,000 | 0 | 0.500 ×1† | 90.0 ×1† | — |

## test loss of an answer's token, epoch that is best on validation

| Model | Method | By | Adapter | Head | Loss | Exact answers | Trials |
| --- | --- | --- | --- | --- | --- | --- | --- |
| llama_mini | fourierft (n=1000) | ours | 24,000 | 0 | 0.900 ± 0.000 ×2† | 50.0 ± 0.0 ×2† | — |
| llama_mini | full | ours | 24,000 | 0 | 0.900 ×1† | 90.0 ×1† | — |

## training time of a run, rows a second (of the loader alone), and best epoch (medians over seeds)

| Model | Method | instruct | Device |
| --- | --- | --- | --- |
| llama_mini | fourierft (n=1000) | 1.5 min, 3/s, epoch 3 | A CPU |
"""


def test_held_out_losses_are_a_table_of_ours_alone(page):
    mini = {"scale": "mini", "model": "llama_mini", "head": 0}
    found = [instruct(1.2, accuracy=0.5, **mini), instruct(1.3, accuracy=0.5, seed=11111, **mini)]
    lines = page([*found, instruct(0.5, accuracy=0.9, method="full", **mini)], "mini", HELD_OUT)
    assert "\n".join(lines).startswith(LOSSES)
    assert "exact answers in percent" in "\n".join(lines)


def test_exact_answers_stand_where_some_were_counted(page):
    small = {"scale": "small", "model": "llama_stories260k"}
    lines = page([instruct(2.5, **small)], "small", HELD_OUT)
    assert "Exact answers" not in "\n".join(lines) and "| 2.500 ×1† | — |" in "\n".join(lines)
    assert "| Model | Method | instruct | Device |" in lines
    lines = page([instruct(0.9)], "paper", HELD_OUT)
    assert sum("| ours |" in line for line in lines) == 2, "no row that was not run"
    assert "| paper |" not in "\n".join(lines) and "In brackets" not in "\n".join(lines)


# --- LaTeX -----------------------------------------------------------------------------------------------------------


def test_latex_escapes_what_latex_reads():
    assert render.escape("a_b 5% #1 & ± ×5† −1 ≥2") == r"a\_b 5\% \#1 \& $\pm$ $\times$5\dag{} $-$1 $\geq$2"
    table = render.Table("T_1", ["Model", "%"], [["a_1", "1 ± 2"], ["b", "—"]])
    assert render.latex(table, ["100 %"]).splitlines() == [
        r"\begin{table*}",
        r"\centering\footnotesize",
        r"\caption{T\_1}",
        r"\begin{tabular}{ll}",
        r"\toprule",
        r"Model & \% \\",
        r"\midrule",
        r"a\_1 & 1 $\pm$ 2 \\",
        r"\midrule",
        r"b & --- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par 100 \%",
        r"\end{table*}",
    ]
