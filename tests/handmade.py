"""Records made by hand, for the tests of all that reads records."""

import functools
import math
from pathlib import Path

from experiments import record as records
from experiments.paper.printed import read_paper
from experiments.record import Judge, MatrixRank, Rank, RankSummary, Record, config_hash
from experiments.trials import Trials

PAPER = Path(__file__).parents[1] / "results" / "paper"
PRINTED = read_paper(PAPER)
SEEDS = (0, 11111, 22222, 33333, 44444)  # the paper's, of Table 2
IMAGE_SEEDS = (7, 77, 777, 7777, 77777)  # of Table 5
E2E_SEEDS = (0, 11111, 22222)  # of Table 3, and ours of Table 4
MACHINE = {"device": "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34}
ROWS = {"train": 54, "validation": 20}


def leave(folder, *made):
    """Write records of any kind where they belong below `folder`; returns their paths."""
    paths = [Path(folder) / record.place for record in made]
    for record, path in zip(made, paths, strict=True):
        records.write(record, path)
    return paths


def measured(curve, test=None, primary="accuracy", direction="max"):
    """The metrics of a run with these of its epochs, dicts, in their order."""
    choose = {"max": max, "min": min}[direction]
    epochs = [{"epoch": number, **values} for number, values in enumerate(curve, start=1)]
    best, last = choose(epochs, key=lambda epoch: epoch[primary]), epochs[-1]
    scores = {"best": best[primary], "best_epoch": best["epoch"], "last": last[primary], "per_epoch": epochs}
    return {"primary": primary, "direction": direction, **scores, "all": {"best": best, "last": last}, "test": test}


@functools.cache
def ranked(count, rank, width=768):
    """The analysis of `count` matrices of this rank, all their singular values that are not zero being one."""
    found = {"numerical_rank": rank, "effective_rank": rank, "frobenius_norm": math.sqrt(rank), "spectral_norm": 1.0}
    found |= {"shape": [width, width], "singular_values": [1.0] * rank + [0.0] * (width - rank)}
    matrices = [MatrixRank(name=f"layer.{index}.query", **found) for index in range(count)]
    return Rank(tolerance="t", matrices=matrices, summary=RankSummary.of(matrices))


def run(
    best=0.5,
    *,
    exp="glue_rte",
    model="roberta_base",
    method="fourierft",
    seed=0,
    scale="paper",
    status="ok",
    last=None,
    adapter=24000,
    head=592130,
    rank=None,
    train=None,
    test=None,
    weights="a",
    data="a",
    ended="2025-01-01T00:00:00Z",
    dirty=False,
    trials=None,
    recipe=None,
    epochs=None,
    in_paper=True,
    primary="accuracy",
    direction="max",
    **settings,
):
    """A record by hand. `settings` are the method's; `rank` is (matrices, rank of each).

    in_paper: at the paper's scale a run with exactly the settings of a printed row is of a cell of the paper, unless
    this is false: another recipe. The best epoch is the third of five. `epochs`: what was measured in each, instead of
    `best` and `last`. `test`: the test set's scores of the best and the last epoch, or its metrics of both.
    """
    last = min(best, 0.4) if last is None else last
    curve = epochs or [{primary: value} for value in (last, last, best, last, last)]
    settings = settings or {"fourierft": {"n": 1000}, "lora": {"r": 8}}.get(method, {})
    rows = [row for table in PRINTED.values() for row in table]
    printed = any((row.model, row.method, row.settings) == (model, method, settings) for row in rows)
    config = {"seed": seed, "task": {"name": exp}, "model": {"name": model, "scale": scale}}
    config |= {"method": {"name": method, **settings}, "train": train or {"max_steps": None}}
    config |= {"recipe": {"epochs": len(curve), "batch_size": 10, **(recipe or {})}}
    source = {"name": model, "source": "local", "id": model, "sha256": weights}
    result = {}
    if status == "ok":
        if isinstance(test, tuple):
            test = {name: {primary: value} for name, value in zip(("best", "last"), test, strict=True)}
        result["metrics"] = measured(curve, test, primary, direction)
        result["params"] = {"adapter": adapter, "head": head, "total": 10**9, "adapter_bytes": 4 * adapter}
        seconds = {"train_s": ROWS["train"] * len(curve) / 3, "samples_per_s": 3.0, "eval_s": 1.0}
        steps = math.ceil(ROWS["train"] / config["recipe"]["batch_size"]) * len(curve)
        result["cost"] = {**seconds, "steps": steps}
    return Record(
        exp=exp,
        task=exp,
        method=method,
        model=source,
        dataset={**source, "sha256": data, "rows": ROWS | ({"test": 30} if test else {})},
        seed=seed,
        entry_seed=settings.get("entry_seed"),
        scale=scale,
        paper_cell="a cell" if printed and in_paper and scale == "paper" else None,
        status=status,
        error=None if status == "ok" else "it broke",
        config=config,
        config_hash=config_hash(config),
        rank=rank and ranked(*rank),
        hardware=MACHINE,
        versions={},
        commit="c" * 40,
        dirty=dirty,
        trials=trials,
        started="2025-01-01T00:00:00Z",
        ended=ended,
        **result,
    )


def search(*values, best=None, method="fourierft", exp="glue_rte", model="roberta_base", key="recipe.lr", settings=()):
    """A search of this key by hand: the values that it tried, and the best of them, the last by default."""
    ranges, best = {key: [1e-5, 10.0]}, values[-1] if best is None else best
    trials = [{key: value, "score": 0.5 if value == best else 0.4} for value in values]
    return Trials.model_construct(
        exp=exp,
        model=model,
        method=method,
        overrides=[f"method={method}", *settings],
        ranges=ranges,
        trials=trials,
        best=next(trial for trial in trials if trial[key] == best),
    )


def configured(config, **changes):
    """A record of a run with this configuration, of a GLUE set; `changes` are of its fields."""
    recipe, task, method = config.recipe, config.task.name, config.method
    names = {"exp": config.exp or task, "model": config.model.name, "method": method.name}
    made = run(seed=config.seed, epochs=[{"accuracy": 0.5}] * recipe.epochs, recipe=recipe.model_dump(), **names)
    update = {"task": task, "config": config.result_key(), "config_hash": config.hash}
    return made.model_copy(update={**update, "entry_seed": method.seed_of_entries, **changes})


def five(scores=(0.78, 0.79, 0.80, 0.79, 0.77), **changes):
    """One run for each of the paper's seeds."""
    return [run(score, seed=seed, **changes) for score, seed in zip(scores, SEEDS, strict=True)]


def image(score=0.5, *, exp="vit_cifar", model="vit_base", method="fourierft", seed=7, last=0.45, **changes):
    """A run on images with this score on the test set; validation's are far off."""
    if method in ("fourierft", "lora") and not changes.keys() & {"n", "r"}:
        changes |= {"n": 3000} if method == "fourierft" else {"r": 16}
    given = {"best": 0.99, "test": (score, last), **changes}
    return run(exp=exp, model=model, method=method, seed=seed, last=given["best"] - 0.01, **given)


def five_images(scores=(0.78, 0.79, 0.80, 0.79, 0.77), **changes):
    """One run on images for each of the paper's seeds."""
    return [image(score, seed=seed, **changes) for score, seed in zip(scores, IMAGE_SEEDS, strict=True)]


def e2e(bleu=0.6, *, best=0.5, model="gpt2_medium", method="fourierft", lacks=(), unfinished=(0, 0), **changes):
    """A run on E2E NLG with this BLEU on the test set at the last epoch, and `best` at the best one.

    The other metrics keep their distance from BLEU. `lacks`: metrics that were not measured; `unfinished`: outputs that
    were cut off, of the best and the last epoch; the other arguments are those of `run`.
    """
    if method in ("fourierft", "lora") and not changes.keys() & {"n", "r"}:
        changes |= {"n": 1000} if method == "fourierft" else {"r": 4}
    epochs = {}
    for (name, score), count in zip({"best": best, "last": bleu}.items(), unfinished, strict=True):
        metrics = {"inverse_perplexity": 0.3, "loss": 1.2, "unfinished": count, "bleu": score, "nist": 10 * score}
        metrics |= {"meteor": score - 0.2, "rouge_l": score + 0.1, "cider": 4 * score, "meteor_nltk": score + 0.2}
        epochs[name] = {key: value for key, value in metrics.items() if key not in lacks}
    return run(exp="e2e", model=model, method=method, primary="inverse_perplexity", test=epochs, **changes)


def three_e2e(scores=(0.6, 0.61, 0.65), **changes):
    """One run on E2E NLG for each of the paper's seeds."""
    return [e2e(score, seed=seed, **changes) for score, seed in zip(scores, E2E_SEEDS, strict=True)]


def instruct(loss=1.0, *, best=None, epochs=(), accuracy=None, model="llama2_7b", method="fourierft", **changes):
    """An instruction tuning run with this loss of held-out answers (nats) at the last epoch, `best` at the best one.

    epochs: validation's loss of each epoch, in place of a curve whose best is not the last; the other arguments are
    those of `run`.
    """
    if best is None:
        best = loss if epochs and min(epochs) == epochs[-1] else 0.9
    if method != "full" and not changes.keys() & {"n", "r"}:
        changes |= {"n": 1000} if method == "fourierft" else {"r": 64}
    more = {"loss": 7.0} | ({} if accuracy is None else {"accuracy": accuracy})
    test = {name: {"inverse_perplexity": math.exp(-nats)} | more for name, nats in {"best": best, "last": loss}.items()}
    curve = [{"loss": 7.0, "inverse_perplexity": math.exp(-nats)} for nats in epochs]
    given = {"primary": "inverse_perplexity", "test": test, "epochs": curve, **changes}
    return run(exp="instruct", model=model, method=method, **given)


def graded(record, mt_bench=None, vicuna=None, **changes):
    """The record with a judge's scores of the last epoch's answers; `changes` are those of the judge."""
    scores = {"mt_bench": mt_bench, "vicuna": vicuna}
    last = record.metrics.test.last | {name: score for name, score in scores.items() if score is not None}
    test = record.metrics.test.model_copy(update={"last": last})
    judge = {"name": "a-judge", "revision": "1", "prompts": "0123abcd" * 8, "judgments": 240, "failures": 2}
    judge |= {"prompt_tokens": 1, "completion_tokens": 1, "ended": "2025-01-02T00:00:00Z"}
    update = {"metrics": record.metrics.model_copy(update={"test": test}), "judge": Judge(**judge | changes)}
    return record.model_copy(update=update)
