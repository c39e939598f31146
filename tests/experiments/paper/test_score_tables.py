"""The file of the tables of scores: what it gives, and how it is refused."""

import pytest

from experiments.errors import UserError
from experiments.paper.printed import TABLE_NAMES
from experiments.paper.score_tables import SCORE_TABLES, leading_column, read_tables, table_of

TABLE = """
mine:
  title: My table
  protocol: { seeds: [0, 1, 2], centre_name: mean, spread_name: sample standard deviation (n-1) }
  columns: [{ exp: my_task, key: mine, heading: Mine }]
  blocks: { best: best epoch }
  example: python run.py +exp=my_task
"""


def test_a_new_table_is_an_entry_of_the_file(tmp_path):
    (tmp_path / "tables.yaml").write_text(TABLE)
    (table,) = read_tables(tmp_path / "tables.yaml")
    assert (table.key, table.selection, table.claim) == ("mine", "best", None)
    assert table.protocol.centre([1, 2, 6]) == 3 and table.protocol.spread([1, 3]) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("centre_name: mean", "centre_name: middle"),
        ("heading: Mine", "heading: Mine, metrics: accuracy"),
        ("  title: My table\n", ""),
        ("seeds: [0, 1, 2]", "seeds: [a]"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_file_and_the_key(tmp_path, old, new):
    path = tmp_path / "tables.yaml"
    path.write_text(TABLE.replace(old, new))
    key = {"  title: My table\n": "title"}.get(old, new.split(":")[0].split(",")[-1].strip())
    with pytest.raises(UserError, match=rf"(?s)tables\.yaml: .*{'metrics' if 'metrics' in new else key}"):
        read_tables(path)


def test_every_printed_table_of_scores_has_a_claim_and_every_experiment_one_table():
    claimed = {table.key for table in SCORE_TABLES if table.claim}
    assert claimed == TABLE_NAMES.keys() - {"table1_parameters"}
    for table in (table for table in SCORE_TABLES if table.columns and not table.judged):
        assert {table_of(column.exp).key for column in table.columns + table.parts} == {table.key}
        assert leading_column(table.columns[0].exp) == table.columns[0]
    assert table_of("unheard_of").key == "other"
