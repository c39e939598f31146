"""Figures from records: ranks for each method that changes matrices, costs for each three methods, the same bytes."""

import itertools
from pathlib import Path

import torch

from experiments.measure.rank import summarise
from scripts import figures
from tests.conftest import ROOT
from tests.handmade import instruct, leave, run


def draw(folder, *arguments):
    """The exit code of the command, with the folders of its results in `folder`."""
    places = {"records": "records", "studies": "studies", "bench": "bench", "out": "figures"}
    words = [word for option, name in places.items() for word in (f"--{option}", str(folder / name))]
    return figures.main([*words, *arguments])


def test_one_figure_for_each_method_with_a_rank_and_the_same_bytes(tmp_path, capsys):
    torch.manual_seed(0)
    deltas = [(f"layer.{i}.{kind}", torch.randn(8, 8)) for i in range(2) for kind in ("query", "value")]
    ranked = [run(), run(recipe={"lr": 1.0}, in_paper=False), run(method="lora")]
    ranked = [one.model_copy(update={"rank": summarise(deltas)}) for one in ranked]
    mini = run(scale="mini", model="roberta_mini").model_copy(update={"rank": summarise(deltas)})
    leave(tmp_path / "records", *ranked, run(method="head_only"), mini)

    def drawn():
        assert draw(tmp_path) == 0
        return list(map(Path, capsys.readouterr().out.splitlines()))

    written = drawn()
    assert [path.name for path in written] == [
        "rank_glue_rte_roberta_base_fourierft_n1000.png",
        "rank_glue_rte_roberta_base_fourierft_n1000_n_1000_not_in_the_paper.png",
        "rank_glue_rte_roberta_base_lora_r8.png",
        "pareto_glue_rte_roberta_base_paper.pdf",
        "pareto_glue_rte_roberta_base_paper.png",
    ]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in drawn()] == first


def test_no_two_figures_of_the_project_are_equal():
    found = sorted((ROOT / "results" / "figures").iterdir())
    first = {path.read_bytes(): path.name for path in reversed(found)}
    assert found and [path.name for path in found if first[path.read_bytes()] != path.name] == []


def test_a_corrupt_record_is_named_and_the_others_are_drawn(tmp_path, capsys):
    leave(tmp_path / "records", *(run(method=method) for method in ("fourierft", "lora", "head_only")))
    (tmp_path / "records" / "broken.json").write_text("{")
    assert draw(tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("figures: left out: ") and "broken.json" in printed.err
    assert [Path(line).name for line in printed.out.split()] == [
        "pareto_glue_rte_roberta_base_paper.pdf",
        "pareto_glue_rte_roberta_base_paper.png",
    ]


def test_filters_choose_and_a_stale_figure_goes_only_without_them(tmp_path, capsys):
    """Three methods on two experiments, at two scales."""
    methods = ("fourierft", "lora", "head_only")
    cells = [("glue_rte", "mini"), ("glue_rte", "paper"), ("glue_stsb", "paper")]
    made = [run(exp=exp, scale=scale, method=method) for (exp, scale), method in itertools.product(cells, methods)]
    paths, out = leave(tmp_path / "records", *made), tmp_path / "figures"
    (study,) = leave(tmp_path / "studies/grid/records", run(n=1000, rank=(24, 700), recipe={"lr": 0.1}))

    def drawn(*arguments):
        assert draw(tmp_path, *arguments) == 0
        return {Path(line).stem for line in capsys.readouterr().out.split()}

    everything = {f"pareto_{exp}_roberta_base_{scale}" for exp, scale in cells}
    assert drawn() == everything | {"study_grid_paper"}, "the miniature's too"
    assert drawn("--exp", "glue_rte", "--scale", "paper") == {"pareto_glue_rte_roberta_base_paper"}
    assert drawn("--scale", "paper", "--model", "roberta_base") == {name for name in everything if "paper" in name}
    assert len(list(out.iterdir())) == 2 * len(everything) + 2
    for path in (study, *paths[:3]):
        path.unlink()
    assert drawn() == {name for name in everything if "paper" in name}
    assert {path.stem for path in out.iterdir()} == {name for name in everything if "paper" in name}


def test_an_experiment_of_losses_has_curves_too_and_they_go_stale(tmp_path, capsys):
    small = {"model": "llama_stories260k", "scale": "small", "epochs": (2.5, 2.4)}
    methods = ("fourierft", "lora_qv", "full")
    paths = leave(tmp_path / "records", *(instruct(method=method, **small) for method in methods))
    leave(tmp_path / "records", *(run(method=method) for method in methods))
    assert draw(tmp_path, "--exp", "instruct", "--model", "llama_stories260k") == 0
    stem = "instruct_llama_stories260k_small"
    names = {f"{kind}_{stem}.{suffix}" for kind in ("pareto", "curves") for suffix in ("pdf", "png")}
    assert {Path(line).name for line in capsys.readouterr().out.split()} == names
    for path in paths:
        path.unlink()
    assert draw(tmp_path) == 0
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"pareto_glue_rte_roberta_base_paper"}


def test_a_filter_that_leaves_nothing_says_what_there_is(tmp_path, capsys):
    leave(tmp_path / "records", run())
    assert figures.main(["--records", str(tmp_path / "records"), "--out", str(tmp_path), "--exp", "glue_rtt"]) == 2
    message = capsys.readouterr().err
    assert "--exp glue_rtt" in message and "glue_rte roberta_base paper" in message


def test_the_readme_s_picture_shows_those_of_its_methods_that_have_a_record_and_train_anything(tmp_path, capsys):
    small = {"exp": "glue_stsb", "model": "minilm_l6", "scale": "small"}
    ours, _ = leave(tmp_path / "records", run(**small), run(method="head_only", adapter=0, **small))
    assert draw(tmp_path) == 0
    assert {Path(line).name for line in capsys.readouterr().out.split()} == {"readme_stsb.pdf", "readme_stsb.png"}
    ours.unlink()
    assert draw(tmp_path) == 0
    assert not list((tmp_path / "figures").iterdir()), "the head alone is no picture"
