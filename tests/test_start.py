"""What starts without seconds of imports: a refused configuration, and the tables, need none of the large packages."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

LARGE = {"torch", "peft", "transformers", "datasets", "matplotlib", "sklearn", "bitsandbytes"}
REFUSED = {
    "help": ["--help"],
    "configuration": ["exp=glue_rte", "model=roberta_mini", "--cfg", "job", "--resolve"],
    "no experiment": [],
    "no such key": ["+exp=glue_rte", "method=lora", "method.n=100"],
    "out of range": ["+exp=vit_cifar", "recipe.lr=-1"],
    "not a device": ["+exp=e2e", "train.device=cuda:1"],
    "no recipe": ["+exp=instruct_llama2_7b", "method=bitfit"],
    "another kind": ["+exp=glue_rte", "model=vit_base"],
    "a sweep": ["-m", "+exp=metamath", "method=waveft", "seed=-1,-2"],
}


def imported(code, *arguments):
    """The large packages that a Python program imports."""
    tell = f"import atexit, sys; atexit.register(lambda: print('imported', *({LARGE} & sys.modules.keys())))"
    command = [sys.executable, "-c", f"{tell}\n{code}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_run_py_answers_without_large_packages(arguments):
    assert imported("import run; run.main.start()", *arguments) == set()


def test_tables_are_made_without_torch(tmp_path):
    """Matplotlib is there: studies say how their figures are drawn."""
    made = imported(f"from scripts import tables; tables.main(['--out', {str(tmp_path / 'tables')!r}])")
    assert made == {"matplotlib"}
    assert (tmp_path / "tables" / "movement.md").is_file() and (tmp_path / "README.md").is_file()


def test_the_library_has_its_errors_and_the_rule_of_scales_without_torch():
    code = "import fourierft as f; f.FourierError, f.auto_movement([((8, 8), 3)]), dir(f)"
    assert imported(code) == set()
    assert imported(f"{code}; f.FourierConfig") == {"torch"}
