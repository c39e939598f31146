"""The official logs beside the paper's numbers and ours."""

from experiments.paper.printed import Logs, read_facts
from experiments.paper.score_tables import TABLE2
from experiments.report.aggregate import rows
from experiments.report.official_logs import as_rows, table
from tests.handmade import PAPER, PRINTED, five

LOGS, GLUE = read_facts(Logs, PAPER), PRINTED[TABLE2.key]
PAPERS = {row.model: row for row in GLUE if row.method == "fourierft"}


def test_ten_of_eleven_medians_are_the_paper_s_to_its_last_digit():
    """The half unit of rounding, and a hair."""
    off = [(one.model, one.task) for one in LOGS if abs(one.best - PAPERS[one.model].median[one.task]) > 0.0501]
    assert len(LOGS) == 11 and off == [("roberta_base", "mrpc")]


def test_the_mean_stands_where_every_task_was_logged():
    base, large = as_rows(LOGS)
    assert abs(base.avg - 84.96) < 0.005 and large.avg is None and "qnli" not in large.median


def test_ours_stands_beside_them_at_the_paper_s_scale_alone():
    def ours(scale):
        lines = table(LOGS, GLUE, rows(five(exp="glue_rte", scale=scale))).rows
        return {tuple(line[:2]): line[4] for line in lines}

    assert ours("paper")["roberta_base", "RTE"] == "79.0 ± 1.1 ×5"
    assert set(ours("small").values()) == {"—"}
    assert sum(cell != "—" for cell in ours("paper").values()) == 1


def test_neither_a_variant_nor_another_recipe_stands_there():
    grid, other = five([0.6] * 5, n=1000, entries="grid"), five([0.5] * 5, in_paper=False, recipe={"lr": 1.0})
    for found, said in (([*grid, *other], "—"), ([*grid, *other, *five()], "79.0 ± 1.1 ×5")):
        (line,) = [line for line in table(LOGS, GLUE, rows(found)).rows if line[:2] == ["roberta_base", "RTE"]]
        assert line[4] == said
