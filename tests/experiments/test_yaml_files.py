"""YAML files: a table, or one error that names file and line; and a sweep that tells of every run that failed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import composing, pipeline
from experiments.errors import UserError
from experiments.yaml_files import read_yaml
from tests import forked
from tests.conftest import ROOT

SOUND = "a: {b: [1, 2.5e-3], c: '${a.b}'}\nd: null\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml") / "some.yaml"


def test_a_table_is_read_and_an_empty_file_is_an_empty_table(file):
    file.write_text(SOUND)
    assert read_yaml(file) == {"a": {"b": [1, 0.0025], "c": "${a.b}"}, "d": None}
    file.write_text("")
    assert read_yaml(file) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "line 1, column 4"),
        (b"a: 1\nb: 2\na: 3", "line 3, column 1"),
        (b"a:\t- 1\n\tb: 2", "line 1"),
        (b"a: !!python/name:os.system", "line 1"),
        (b"a: ${", "cannot be read as YAML"),
        (b"a: \xff", "0xff"),
        (b"&a [*a]", "recursion"),
        (b"- 1", "a list where a table of keys belongs"),
        (b"5", "int"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(file, content, said):
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"some\.yaml: .*{said}.*mend it or restore it"):
        read_yaml(file)


def damaged(whole):
    """Any bytes, or `whole` with some replaced, in one place."""
    cut = st.tuples(st.integers(0, len(whole)), st.integers(0, 9), st.binary(max_size=9))
    return st.binary(max_size=60) | cut.map(lambda at: whole[: at[0]] + at[2] + whole[at[0] + at[1] :])


def check_damage(file, content):
    file.write_bytes(content)
    try:
        assert isinstance(read_yaml(file), dict)
    except UserError as error:
        assert str(file) in str(error)


@settings(max_examples=150, deadline=None)
@given(content=damaged(SOUND.encode()))
def test_any_bytes_are_a_table_or_one_error(file, content):
    check_damage(file, content)


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None)
@given(content=damaged((ROOT / "configs/config.yaml").read_bytes()))
def test_any_damage_to_a_configuration_is_a_table_or_one_error(file, content):
    check_damage(file, content)


def test_an_unknown_error_of_hydras_is_told_by_the_file_behind_it(tmp_path, monkeypatch):
    monkeypatch.setattr(composing, "CONFIGS", tmp_path)

    def compose():
        with composing.legible():
            raise ValueError("from the depths")

    with pytest.raises(ValueError, match="from the depths"):
        compose()
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("name: [")
    with pytest.raises(UserError, match=r"task/mine\.yaml: .*line 1"):
        compose()


def test_a_sweep_goes_on_behind_a_failure_and_tells_of_all(monkeypatch):
    """With a run that only says that it ran; of the others two have no recipe, and one a value out of range."""
    monkeypatch.setattr(pipeline, "run", lambda config: print("ran", config.method.name))
    jobs = ["-m", "exp=glue_rte", "model=minilm_l6", "method=oft,fourierft", "recipe.lr=0.01,-1"]
    process = forked.python("run.py", *jobs)
    code, (stdout, stderr) = process.wait(), process.said()
    failed = [line for line in stderr.splitlines() if line.startswith("failed: ")]
    assert code == 2 and "Traceback" not in stderr and "Error executing" not in stderr
    assert "ran fourierft" in stdout
    assert [line.split()[1] for line in failed] == ["method=oft", "method=oft", "method=fourierft"]
    assert "recipe.lr=-1: " in failed[-1] and "no recipe of oft for minilm_l6" in failed[0]
    summary = stdout[stdout.index("1 of 4 runs done") :]
    assert "method=oft recipe.lr=0.01 and 1 more: there is no recipe of oft" in summary and failed[-1] in summary
