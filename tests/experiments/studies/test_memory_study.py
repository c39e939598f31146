"""The study of memory: bytes without a GPU equal to real ones, for every method; its records, tables and verdict."""

import dataclasses
import json

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from transformers import AutoTokenizer

from experiments import record
from experiments.config import load
from experiments.data.assets import read_rows
from experiments.errors import UserError
from experiments.measure import memory
from experiments.measure.bench import Entry
from experiments.models import architectures
from experiments.paper.printed import Peak, read_facts
from experiments.record import LeftOut, RecordError
from experiments.report.verdicts import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED
from experiments.studies.memory import case as cases
from experiments.studies.memory import footprint as footprints
from experiments.studies.memory import study
from experiments.studies.memory.case import Case
from experiments.studies.memory.footprint import Footprint, Step
from experiments.style import save
from tests import legible
from tests.handmade import leave

pytestmark = pytest.mark.filterwarnings("ignore:delta_W starts out")

MIB = 2**20
DEPTH, WIDTH, BATCH, TOKENS, R = 2, 64, 3, 10, 8
PAPER = record.ROOT / "results" / "paper"


def small(method, task="mrpc"):
    """The case of a method in a small model, with the dropout of the large one."""
    one = cases.case(method, task)
    config = architectures.roberta(WIDTH, DEPTH, vocab_size=50, num_labels=one.config.num_labels)
    chosen = one.method.model_copy(update={"drop": 1}) if method == "adapter_drop" else one.method
    return dataclasses.replace(one, method=chosen, config=config, batch=BATCH, tokens=TOKENS)


def saved(case, device):
    return memory.saved_for_backward(*case.build(device))


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", study.METHODS)
def test_the_bytes_counted_without_a_model_are_those_of_a_real_one(method):
    case = small(method)
    assert saved(case, "meta") == saved(case, "cpu") > 0
    model, _ = case.build("cpu")
    step = case.exact()
    assert step.weight_bytes == sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    assert step.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_regression_is_counted_too():
    case = small("full", "stsb")
    assert case.config.num_labels == 1
    assert saved(case, "meta") == saved(case, "cpu")


def test_a_gpu_keeps_one_byte_a_number_of_a_dropout_mask():
    x = torch.ones(5, 7, device="meta", requires_grad=True)
    none = torch.nn.Module()

    def kept(**options):
        return memory.saved_for_backward(none, lambda: functional.dropout(x, **options))

    assert kept(p=0.5) == 4 * 35
    with memory.AsOnGpu():
        assert kept(p=0.5) == 35
        assert kept(p=0.0) == kept(p=0.5, training=False) == 0


def test_the_bytes_of_a_gpu_are_those_that_torch_would_keep_on_one():
    """Its own account of a GPU, without one: fake tensors, which choose the kernels of CUDA."""
    case = small("full")
    with FakeTensorMode():
        fake = saved(case, "cuda")
    assert fake == case.exact().saved_bytes < saved(case, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", study.METHODS)
def test_the_bytes_are_those_of_a_gpu(method):
    found = small(method).measured(1)
    assert found.saved_bytes == small(method).exact().saved_bytes
    assert found.peak_bytes >= small(method).exact().least_bytes


def test_lora_saves_r_numbers_a_token_and_matrix_more_and_pefts_own_layer_each_change_of_a_weight():
    ours, lora, peft = (small(method).exact().saved_bytes for method in (study.OURS, study.LORA, study.PEFT))
    matrices = 2 * DEPTH
    assert lora - ours == 4 * BATCH * TOKENS * R * matrices
    assert peft - ours >= 4 * WIDTH**2 * (matrices - 2)  # the lowest layer's input needs no gradient


def test_the_least_is_weights_states_and_the_larger_of_saved_and_gradients():
    step = Step(batch=1, tokens=1, settings={}, weight_bytes=1000, trained=10, saved_bytes=500)
    assert (step.gradient_bytes, step.state_bytes, step.least_bytes) == (40, 80, 1580)
    assert step.model_copy(update={"saved_bytes": 5}).least_bytes == 1120


# --- cases -----------------------------------------------------------------------------------------------------------


def test_batches_and_lengths_are_table_9s_for_every_method_and_the_models_are_whole():
    sizes = {task: (one.batch, one.tokens) for task in study.TASKS for one in [cases.case(study.LORA, task)]}
    assert sizes["cola"] == (128, 47) and sizes["qnli"] == (32, 512) and sizes["rte"] == (32, 292)
    assert {batch for task, (batch, _) in sizes.items() if task != "cola"} == {32}
    ours = cases.case(study.OURS, "rte")
    assert (ours.batch, ours.tokens) == sizes["rte"]
    assert (ours.method.n, ours.method.scale, ours.config.num_hidden_layers) == (1000, 90.0, 24)
    config, full = ours.config, architectures.ARCHITECTURES["roberta_large"].config
    assert config.to_dict() == full.to_dict()
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    assert cases.case(study.PEFT, "rte").method.scale == 90.0


@pytest.mark.assets
def test_the_longest_rows_are_those_of_the_data(assets):
    folder = assets / "models" / "roberta-large"
    if not folder.is_dir():
        pytest.skip(f"needs RoBERTa's tokenizer in {folder}")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for set, longest in study.TASKS.items():
        task = load(f"+exp=glue_{set}").task
        rows = read_rows(assets / "datasets" / task.local / "train.parquet", task.inputs)
        if longest:
            lengths = map(len, tokenizer(*(list(rows[column]) for column in task.inputs))["input_ids"])
            assert max(lengths) == longest, set


# --- on a GPU --------------------------------------------------------------------------------------------------------


def test_a_step_is_measured_with_its_optimizer():
    case = small(study.OURS)
    found = case.measured(2, device="cpu")
    assert found.status == "ok" and len(found.seconds) == 2 and found.peak_bytes > 0
    assert found.saved_bytes == saved(case, "cpu")


def test_running_out_of_memory_is_a_result_and_any_other_error_is_not(monkeypatch):
    def build(self, device):
        raise raised

    monkeypatch.setattr(Case, "build", build)
    raised = torch.OutOfMemoryError("CUDA out of memory")
    found = Case(*[None] * 6).measured(1)
    assert found == Entry(status="oom", error="OutOfMemoryError: CUDA out of memory")
    raised = ValueError("unheard of")
    with pytest.raises(ValueError, match="unheard of"):
        Case(*[None] * 6).measured(1)


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(gpu=False) -> the methods that were measured now, of two; small models, and a GPU that is made up."""
    case, hardware, calls = cases.case, record.hardware("cpu"), []
    monkeypatch.setattr(study, "METHODS", [study.LORA, study.OURS])
    for module in (study, cases, footprints):
        monkeypatch.setattr(module, "TASKS", {"mrpc": study.TASKS["mrpc"]})
    monkeypatch.setattr(Case, "measured", lambda self, rounds: entry(1000))

    def shrunk(method, task):
        calls.append(method)
        return dataclasses.replace(case(method, task), config=architectures.roberta(64, 1, vocab_size=50), tokens=4)

    monkeypatch.setattr(cases, "case", shrunk)

    def run(gpu=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        machine = {"cpu": hardware, "cuda": hardware | {"device": "cuda", "gpu": "A GPU"}}
        monkeypatch.setattr(record.machine, "hardware", machine.get)
        calls.clear()
        study.Memory().run("paper", tmp_path)
        return list(dict.fromkeys(calls))

    return run


def test_what_is_there_is_not_repeated_unless_a_gpu_adds_what_was_missing(run, tmp_path):
    both = [study.LORA, study.OURS]
    assert run() == both and run() == []
    exact = study.read(tmp_path)
    assert list(exact) == both and {one.machine for one in exact.values()} == {None}
    assert run(gpu=True) == both and run(gpu=True) == run() == []
    measured = study.read(tmp_path)
    for method in both:
        assert measured[method].machine == "A GPU"
        for task, step in measured[method].steps.items():
            assert step.gpu == entry(1000)
            assert step.model_copy(update={"gpu": None}) == exact[method].steps[task]


def test_another_scale_is_refused_and_so_is_a_file_that_is_none(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"scale=small: .* use scale=paper"):
        study.Memory().run("small", tmp_path)
    record.write(footprint("vera", 10), tmp_path / "vera.json")
    with pytest.raises(UserError, match="vera, no method of this study"):
        study.Memory().claims(tmp_path)
    (tmp_path / "vera.json").write_text("{}")
    with pytest.warns(LeftOut, match=r"vera\.json"):
        assert study.Memory().pages(tmp_path) == []
    lacking = footprint("lora", 10).model_dump(mode="json", by_alias=True) | {"steps": {}}
    (tmp_path / "lora.json").write_text(json.dumps(lacking))
    monkeypatch.setattr(study, "METHODS", ["lora"])
    with pytest.raises(RecordError, match=r"lora\.json: .*the tasks of steps is \[\]"):
        study.Memory().run("paper", tmp_path)


# --- what is shown ---------------------------------------------------------------------------------------------------


def entry(mib, seconds=(0.1, 0.3, 0.2)):
    return Entry(status="ok", seconds=list(seconds), saved_bytes=1, peak_bytes=mib * MIB)


OOM = Entry(status="oom", error="OutOfMemoryError: no")


def footprint(method, saved_mib, dirty=False, **gpu):
    """A record by hand: the same bytes on every task, and what a GPU measured by task."""
    size = {"batch": 32, "tokens": 100, "settings": {}, "weight_bytes": 1000 * MIB, "trained": 1000}
    return Footprint(
        method=method,
        model="roberta_large",
        steps={task: Step(**size, saved_bytes=saved_mib * MIB, gpu=gpu.get(task)) for task in study.TASKS},
        hardware={"device": "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34, "gpu": "A GPU" if gpu else None},
        versions={},
        commit="c" * 40,
        dirty=dirty,
        started="2025-01-01T00:00:00Z",
        ended="2025-01-01T00:00:00Z",
    )


def shown(folder, *footprints):
    leave(folder, *footprints)
    (report,) = study.Memory().pages(folder)
    return report


def test_the_tables_put_the_page_beside_what_is_counted_and_measured(tmp_path):
    lora = footprint("lora", 2000, dirty=True, mrpc=entry(4000), qnli=OOM)
    report = shown(tmp_path, lora, footprint("fourierft", 1990), footprint("full", 5000))
    assert report.scale == "paper" and "Measured on A GPU." in report.notes
    beside, every = report.tables
    assert beside.rows[0] == ["MRPC", "32 × 100", "lora‡", "2,000.0", "3,000.0", "4,000.0", "200.0", "8888"]
    assert beside.rows[1] == ["MRPC", "32 × 100", "fourierft", "1,990.0", "2,990.0", "—", "—", "8582"]
    assert ["QNLI", "32 × 100", "lora‡", "2,000.0", "3,000.0", "OOM", "—", "OOM"] in beside.rows
    assert len(beside.rows) == 2 * 6
    assert every.rows[0][:3] == ["lora‡", "1,000", "2,000 / 3,000 / 4,000 / 200.0 ms"]
    assert every.rows[0][4] == "2,000 / 3,000 / OOM" and every.rows[2][2] == "5,000 / 6,000"
    assert all(report.texts.values())


def test_the_same_records_give_the_same_figure(tmp_path):
    footprints = footprint("lora", 2000, mrpc=entry(4000), qnli=OOM), footprint("fourierft", 1990)
    legible.check(shown(tmp_path, *footprints).figures[""]())
    files = [save(shown(tmp_path, *footprints).figures[""](), tmp_path / name) for name in ("a.png", "b.png")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_measured_shows_nothing(tmp_path):
    assert study.Memory().pages(tmp_path) == []
    (claim,) = study.Memory().claims(tmp_path)
    assert (claim.measured, claim.verdict) == ((), NOT_MEASURED)


def verdict(folder, ours, lora):
    leave(folder, footprint("fourierft", 1990, **ours), footprint("lora", 2000, **lora))
    (claim,) = study.Memory().claims(folder)
    return claim.verdict


def test_peaks_on_a_gpu_judge_the_claim_and_all_of_them_are_needed(tmp_path):
    less, more = dict.fromkeys(study.TASKS, entry(3000)), dict.fromkeys(study.TASKS, entry(3001))
    assert verdict(tmp_path, {}, {}) == NOT_MEASURED
    assert verdict(tmp_path, less, more) == REPRODUCED
    assert verdict(tmp_path, less | {"qnli": OOM}, more | {"qnli": OOM}) == REPRODUCED
    assert verdict(tmp_path, less, more | {"qnli": OOM}) == REPRODUCED
    assert verdict(tmp_path, less | {"rte": OOM}, more) == NOT_REPRODUCED
    assert verdict(tmp_path, less | {"rte": entry(3001)}, more) == NOT_REPRODUCED
    assert verdict(tmp_path, {"mrpc": entry(3000)}, more) == NOT_MEASURED
    assert verdict(tmp_path, dict.fromkeys(study.TASKS, OOM), dict.fromkeys(study.TASKS, OOM)) == NOT_MEASURED


def test_the_claim_says_what_is_saved_and_what_the_page_prints(tmp_path):
    leave(tmp_path, footprint("fourierft", 1990, mrpc=entry(3000)), footprint("lora", 2000, mrpc=entry(3010)))
    (claim,) = study.Memory().claims(tmp_path)
    assert claim.measured[0] == (
        "MRPC, 32 × 100 tokens: saved for the backward pass FourierFT 1,990.0 MiB, LoRA 2,000.0 MiB "
        "(10.0 MiB less; the printed peaks differ by 306 MB); peak 3,000.0 MiB, LoRA 3,010.0 MiB"
    )
    assert "printed" not in claim.measured[2], "QNLI: nothing but OOM is"


def test_the_printed_peaks_are_as_the_claim_says():
    printed = {(one.task, one.method): one.mb for one in read_facts(Peak, PAPER)}
    fits = [task for task in study.TASKS if printed[task, "lora"] != "OOM"]
    lower = {task: 1 - printed[task, "fourierft"] / printed[task, "lora"] for task in fits}
    assert len(printed) == 12 and len(fits) == 5
    assert (min(lower, key=lower.get), round(100 * min(lower.values()))) == ("mrpc", 3)
    assert (max(lower, key=lower.get), round(100 * max(lower.values()))) == ("cola", 33)
