"""Records made by hand, for the tests of all that reads records."""

import math
from pathlib import Path

from experiments.analysis.paper import read_paper
from experiments.record import Judge, Record, Selections, config_hash

PAPER = Path(__file__).parents[1] / "results" / "paper"
PRINTED = read_paper(PAPER)
SEEDS = (0, 11111, 22222, 33333, 44444)  # the paper's, of Table 2
IMAGE_SEEDS = (7, 77, 777, 7777, 77777)  # of Table 5
E2E_SEEDS = (0, 11111, 22222)  # of Table 3, and ours of Table 4
MACHINE = {"device": "cpu", "cpu": "A CPU", "cores": 2, "memory_bytes": 2**34}


def selections(best, last):
    """The accuracy alone, under both selections."""
    return {"best": {"accuracy": best}, "last": {"accuracy": last}}


def run(
    best=0.5,
    *,
    exp="glue_rte",
    model="roberta_base",
    method="fourierft",
    seed=0,
    scale="paper",
    status="ok",
    last=0.4,
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
    epochs=(),
    in_paper=True,
    **settings,
):
    """A record by hand. `settings` are the method's; `rank` is (matrices, median numerical rank).

    in_paper: at the paper's scale a run with exactly the settings of a printed row is of a cell of the paper, unless
    this is false: another recipe. `test`: the test set's scores of the best and the last epoch. `epochs`: what was
    measured in each.
    """
    settings = settings or {"fourierft": {"n": 1000}, "lora": {"r": 8}}.get(method, {})
    config = {"seed": seed, "method": {"name": method, **settings}, "train": train or {"max_steps": None}}
    config |= {"recipe": recipe} if recipe else {}
    rows = [row for table in PRINTED.values() for row in table]
    printed = any((row.model, row.method, row.settings) == (model, method, settings) for row in rows)
    source = {"name": model, "source": "local", "id": model, "sha256": weights}
    result = {}
    if status == "ok":
        scores = {"best": best, "best_epoch": 3, "last": last, "per_epoch": list(epochs), "all": selections(best, last)}
        result["metrics"] = {"primary": "accuracy", "direction": "max", **scores}
        result["metrics"]["test"] = test and selections(*test)
        result["params"] = {"adapter": adapter, "head": head, "total": 10**8, "adapter_bytes": 4 * adapter}
        result["cost"] = {"train_s": 90.0, "eval_s": 1.0, "steps": 10, "samples_per_s": 3.0}
    if rank:
        spread = {"min": 1, "median": rank[1], "max": 768}
        summary = {"count": rank[0], "numerical_rank": spread, "effective_rank": spread}
        result["rank"] = {"tolerance": "t", "matrices": [], "summary": summary}
    return Record(
        exp=exp,
        task=exp,
        method=method,
        model=source,
        dataset={**source, "sha256": data, "rows": {}},
        seed=seed,
        scale=scale,
        paper_cell="a cell" if printed and in_paper and scale == "paper" else None,
        status=status,
        error=None if status == "ok" else "it broke",
        config=config,
        config_hash=config_hash(config),
        hardware=MACHINE,
        versions={},
        commit="c" * 40,
        dirty=dirty,
        trials=trials,
        started="2025-01-01T00:00:00Z",
        ended=ended,
        **result,
    )


def five(scores=(0.78, 0.79, 0.80, 0.79, 0.77), **changes):
    """One run for each of the paper's seeds."""
    return [run(score, seed=seed, **changes) for score, seed in zip(scores, SEEDS, strict=True)]


def image(score=0.5, *, exp="vit_cifar", model="vit_base", method="fourierft", seed=7, last=0.45, **changes):
    """A run on images with this score on the test set; validation's are far off."""
    if method in ("fourierft", "lora") and not changes.keys() & {"n", "r"}:
        changes |= {"n": 3000} if method == "fourierft" else {"r": 16}
    given = {"best": 0.99, "last": 0.98, "test": (score, last), **changes}
    return run(exp=exp, model=model, method=method, seed=seed, **given)


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
    made = run(exp="e2e", model=model, method=method, **changes)
    update = {"primary": "inverse_perplexity", "test": Selections(**epochs)}
    return made.model_copy(update={"metrics": made.metrics.model_copy(update=update)})


def three_e2e(scores=(0.6, 0.61, 0.65), **changes):
    """One run on E2E NLG for each of the paper's seeds."""
    return [e2e(score, seed=seed, **changes) for score, seed in zip(scores, E2E_SEEDS, strict=True)]


def instruct(loss=1.0, *, best=0.9, epochs=(), accuracy=None, model="llama2_7b", method="fourierft", **changes):
    """An instruction tuning run with this loss of held-out answers (nats) at the last epoch, `best` at the best one.

    epochs: validation's loss of each epoch; the other arguments are those of `run`.
    """
    if method != "full" and not changes.keys() & {"n", "r"}:
        changes |= {"n": 1000} if method == "fourierft" else {"r": 64}
    more = {"loss": 7.0} | ({} if accuracy is None else {"accuracy": accuracy})
    test = {name: {"inverse_perplexity": math.exp(-nats)} | more for name, nats in {"best": best, "last": loss}.items()}
    curve = [{"epoch": i, "loss": 7.0, "inverse_perplexity": math.exp(-nats)} for i, nats in enumerate(epochs, start=1)]
    made = run(exp="instruct", model=model, method=method, **changes)
    update = {"primary": "inverse_perplexity", "test": Selections(**test), "per_epoch": curve}
    return made.model_copy(update={"metrics": made.metrics.model_copy(update=update)})


def graded(record, mt_bench=None, vicuna=None, **changes):
    """The record with a judge's scores of the last epoch's answers; `changes` are those of the judge."""
    scores = {"mt_bench": mt_bench, "vicuna": vicuna}
    last = record.metrics.test.last | {name: score for name, score in scores.items() if score is not None}
    test = record.metrics.test.model_copy(update={"last": last})
    judge = {"name": "a-judge", "revision": "1", "prompts": "0123abcd" * 8, "judgments": 240, "failures": 2}
    judge |= {"prompt_tokens": 1, "completion_tokens": 1, "ended": "2025-01-02T00:00:00Z"}
    update = {"metrics": record.metrics.model_copy(update={"test": test}), "judge": Judge(**judge | changes)}
    return record.model_copy(update=update)
