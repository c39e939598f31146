"""What a person wants to see at the end of a run."""

from pathlib import Path

from experiments.record.parts import Cost, Metrics, Params
from experiments.record.run import Record


def summary(done: Record, path: Path, folder: Path) -> str:
    """Scores, sizes, cost and ranks of a run that ended well, as far as its record has them; `path` of the record,
    `folder` of the run's files."""
    metrics, params, cost = done.metrics, done.params, done.cost
    lines = [
        f"{done.exp}  {done.method} on {done.model.name}  (scale {done.scale}, seed {done.seed})",
        f"  {metrics.primary:<12} best {metrics.best:.4f} at epoch {metrics.best_epoch:.0f}, last {metrics.last:.4f}",
        *_test_lines(metrics),
        f"  parameters   {params.adapter:,} adapter ({params.adapter_bytes:,} bytes), {params.head:,} head, "
        f"{params.total:,} in all",
        *_stored_lines(params, folder),
        f"  cost         {cost.train_s:.0f} s training, {cost.samples_per_s:.0f} examples/s{_rates(cost)}, "
        f"{cost.saved_bytes / 2**20:.1f} MiB saved for backward, {cost.peak_memory_bytes / 2**20:.0f} MiB peak",
    ]
    if done.rank:
        ranks = done.rank.summary
        lines.append(
            f"  rank of ΔW   numerical {ranks.numerical_rank.median:.0f}, effective {ranks.effective_rank.median:.0f} "
            f"(medians of {ranks.count} matrices): {folder / 'rank.png'}"
        )
    return "\n".join([*lines, f"  record       {path}"])


def _stored_lines(params: Params, folder: Path) -> list[str]:
    if params.stored_bytes is None:
        return []
    return [f"  stored       {params.stored_values:,} values in {params.stored_bytes:,} bytes: {folder / 'best'}"]


def _rates(cost: Cost) -> str:
    rates = {"evaluation": cost.eval_samples_per_s, "the loader alone": cost.loader_samples_per_s}
    known = [f"{name} {rate:.0f}" for name, rate in rates.items() if rate is not None]
    return f" ({', '.join(known)})" if known else ""


def _test_lines(metrics: Metrics) -> list[str]:
    """All metrics on the test set except the loss: of the best epoch, and of the last where it differs."""
    if metrics.test is None:
        return []
    found = {"best": metrics.test.best, "last": metrics.test.last}
    chosen = {"best and last": found["best"]} if found["best"] == found["last"] else found
    return [
        f"  on test      {', '.join(f'{k} {v:.4g}' for k, v in scores.items() if k != 'loss')}: {which} epoch"
        for which, scores in chosen.items()
    ]
