"""A command: what it returns, what it says of an error, and where its folders are by default."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton

from experiments.command import Command
from experiments.config import load
from experiments.errors import UserError
from experiments.results import FOLDERS, Results
from fourierft import FourierError
from tests.conftest import ROOT


def failing(error):
    def work(options):
        raise error

    return work


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_what_the_work_returns(returned, code, capsys):
    assert Command("name", __doc__, lambda options: returned)([]) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [UserError("key=1: no"), FourierError("key=1: no")])
def test_an_error_of_the_user_is_one_line_and_any_other_is_raised(error, capsys):
    assert Command("name", __doc__, failing(error))([]) == 2
    assert capsys.readouterr().err == "name: key=1: no\n"
    with pytest.raises(ZeroDivisionError):
        Command("name", __doc__, failing(ZeroDivisionError()))([])


def test_folders_have_the_places_and_the_words_of_results(capsys):
    seen = []
    command = Command("name", __doc__, seen.append)
    command.add_results("records", "paper", out="bench")
    assert command(["--paper", "elsewhere"]) is not None
    assert vars(seen[0]) == {
        "records": Path("results/records"),
        "paper": Path("elsewhere"),
        "out": Path("results/bench"),
    }
    assert all((ROOT / "results" / name).is_dir() for name in FOLDERS.keys() - {"judged", "micro"})
    assert Results(Path("a"))["tables"] == Path("a/tables")
    with pytest.raises(KeyError, match="tabels"):
        Results()["tabels"]


def test_assets_are_those_of_the_environment_unless_given(monkeypatch):
    seen = []
    command = Command("name", __doc__, lambda options: seen.append(options.assets))
    command.add_assets()
    for value in ("", "~/assets"):
        monkeypatch.setenv("FOURIERFT_ASSETS", value)
        command([])
    command(["--assets", "~/mine"])
    assert seen == [None, Path.home() / "assets", Path.home() / "mine"]


def test_commands_that_compute_nothing_start_without_torch():
    code = "import sys, scripts.judge, scripts.compare_answers, scripts.gpu_pack; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture
def without_hydra():
    """Hydra as before the tests set it up."""
    state = Singleton.get_state()
    GlobalHydra.instance().clear()
    yield
    Singleton.set_state(state)


def test_a_configuration_is_loaded_with_and_without_hydra_set_up(request):
    overrides = ("+exp=glue_rte", "method=lora")
    there = load(*overrides)
    request.getfixturevalue("without_hydra")
    assert load(*overrides) == there
    assert not GlobalHydra.instance().is_initialized(), "it is left as it was"
    for wrong, said in ((["method=lorra"], "did you mean lora?"), (["recipe.lrr=1"], "did you mean recipe.lr?")):
        with pytest.raises(UserError) as caught:
            load("+exp=glue_rte", *wrong)
        assert said in str(caught.value)
