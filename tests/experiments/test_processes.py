"""Two processes of torchrun on a CPU: one record, and the result of one process."""

import subprocess
import sys

import pytest

from experiments import record
from tests.conftest import ROOT

RUN = ["run.py", "+exp=e2e", "model=gpt2_mini", "train.rows=24", "train.max_steps=4", "recipe.batch_size=12"]
RUN += ["task.decoding.beams=2", "task.decoding.max_new_tokens=12", "train.device=cpu", "tracking=off"]


@pytest.mark.slow
def test_two_processes_end_as_one_does(tmp_path):
    done = {}
    for count in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if count == 2 else []
        command = [sys.executable, *launcher, *RUN, f"runs={tmp_path}/{count}/runs"]
        subprocess.run(command, cwd=ROOT, check=True, timeout=280)
        [path] = (tmp_path / str(count) / "runs" / "e2e" / "gpt2_mini" / "fourierft").glob("seed0-*.json")
        done[count] = record.read(path)
    one, two = done[1], done[2]
    assert (one.hardware.processes, two.hardware.processes) == (1, 2)
    assert one.config_hash == two.config_hash and one.cost.steps == two.cost.steps == 4
    assert two.metrics.all.last["inverse_perplexity"] == pytest.approx(
        one.metrics.all.last["inverse_perplexity"], rel=1e-4
    )
    first, second = (next((tmp_path / str(count)).rglob("outputs.jsonl")).read_text() for count in (1, 2))
    assert first == second
    assert one.metrics.test.last["bleu"] == pytest.approx(two.metrics.test.last["bleu"])
