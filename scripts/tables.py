"""The paper's tables of scores (2 to 5) and that of held-out losses as Markdown and LaTeX, one a scale, the tables of
the bench and of the parts of a step, Table 1 and every count of parameters, what choosing the epoch buys, the studies'
pages, and results/README.md with the verdicts.

    python -m scripts.tables [--records results/records] [--judged results/judged] [--studies results/studies]
                             [--bench results/bench] [--micro results/micro] [--parameters results/parameters]
                             [--paper results/paper] [--out results/tables]

The same records give the same bytes. A record that cannot be read or does not agree with itself is named and left out;
the exit code is then 2, as where one of the paper's tables cannot be read.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from experiments.errors import UserError
from experiments.measure.bench import Bench
from experiments.measure.micro import Micro
from experiments.record import find, replace_file
from experiments.report import micro as microbench
from experiments.report import official_logs, scores, selection, sizes, speed, verdict_page
from experiments.report.aggregate import Row, rows, within
from experiments.report.claims import claims
from experiments.report.paper import read_logs, read_paper, read_shares
from experiments.report.render import Table, latex, page
from experiments.report.score_tables import TABLE2, TABLES, ScoreTable
from experiments.studies import STUDIES, pages
from scripts.making import make

Present = Sequence[tuple[ScoreTable, str, Sequence[Row]]]  # table, scale, its rows


def both(out: Path, title: str, blocks: Sequence[Table], notes: Sequence[str]) -> dict[Path, str]:
    """A page of tables as OUT.md and OUT.tex, by their paths; nothing where there are no tables."""
    if not blocks:
        return {}
    texts = {".md": page(title, blocks, notes), ".tex": "\n".join(latex(block, notes) for block in blocks)}
    return {out.with_suffix(suffix): text for suffix, text in texts.items()}


def present(everything: Sequence[Row], judged: Sequence[Row], printed: Collection[str]) -> Present:
    """Every table at every scale that has a record of it, and those that are printed, by their keys, at the paper's."""
    found = []
    for table in TABLES:
        for scale in ("mini", "paper", "small"):
            experiments = {column.exp for column in table.columns_at(scale)}
            rows = judged if table.judged else everything
            ours = within([row for row in rows if row.scale == scale], experiments)
            if ours or (scale == "paper" and table.key in printed):
                found.append((table, scale, ours))
    return found


def graded(judged: Path) -> list[Row]:
    """The rows of the judged records. Raises UserError."""
    found = find(judged)
    if unjudged := [record for record in found if record.judge is None]:
        names = ", ".join(f"{one.exp}/{one.model.name}/{one.method}, seed {one.seed}" for one in unjudged)
        raise UserError(f"{judged}: records without a judge ({names}); python -m scripts.judge writes those with one")
    return rows(found)


def build(
    records: Path,
    judged: Path,
    studies: Path,
    bench: Path,
    micro: Path,
    parameters: Path,
    paper: Path,
    out: Path,
    configs: Path,
) -> list[Path]:
    """Write every table and the index; remove tables that have no record any more. Raises UserError."""
    printed, shares, logs = read_paper(paper), read_shares(paper), read_logs(paper)
    benches, full = find(bench, Bench), find(parameters, sizes.Sizes)
    parts = find(micro, Micro)
    runs, answers = find(records), graded(judged)
    everything = rows(runs)
    ranked = rows({one.config_hash: one for one in [*find(studies / "rank" / "records"), *runs]}.values())
    found = present(everything, answers, printed)
    files = sizes.files(printed, full, out)
    if benches:
        notes = [*speed.NOTES, *speed.descriptions(benches)]
        files |= both(out / "bench", "Speed and memory", speed.tables(benches), notes)
    files |= both(out / "micro", microbench.TITLE, microbench.tables(parts), microbench.NOTES)
    for table, scale, ours in found:
        logged = official_logs.as_rows(logs) if table is TABLE2 else ()
        for suffix, text in scores.texts(table, scale, ours, printed.get(table.key, []), configs, logged).items():
            files[out / f"{table.key}_{scale}{suffix}"] = text
    files |= {out / f"selection{suffix}": text for suffix, text in selection.texts(everything, logs).items()}
    studied = {study: study.reports(studies / name) for name, study in STUDIES.items()}
    for study, reports in studied.items():
        files |= {out / name: text for name, text in pages.texts(study, reports).items()}
    verdicts = claims(everything, printed, benches, full, shares, answers, ranked)
    verdicts += [claim for name, study in STUDIES.items() for claim in study.claims(studies / name)]
    index = verdict_page.entries(found, len(benches), len(full), out.name)
    index += [pages.entry(study, report, out.name) for study, reports in studied.items() for report in reports]
    index += [microbench.entry(parts, out.name)] if parts else []
    files[out.parent / "README.md"] = verdict_page.page(verdicts, everything, printed[TABLE2.key], paper, index)

    for path, text in files.items():
        replace_file(path, text.encode())
    measured = ("study_*", "bench.*", "micro.*")
    written = (*(f"{table.key}_*" for table in TABLES), *measured, *(f"{name}.*" for name in sizes.PAGES))
    for stale in {path for pattern in written for path in out.glob(pattern)} - files.keys():
        stale.unlink()
    return list(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("results/records"), help="folder of records")
    parser.add_argument("--judged", type=Path, default=Path("results/judged"), help="folder of judged records")
    parser.add_argument("--studies", type=Path, default=Path("results/studies"), help="folder of the studies'")
    parser.add_argument("--bench", type=Path, default=Path("results/bench"), help="folder of make bench's files")
    parser.add_argument("--micro", type=Path, default=Path("results/micro"), help="of its microbenchmarks of parts")
    parser.add_argument("--parameters", type=Path, default=Path("results/parameters"), help="of make parameters")
    parser.add_argument("--paper", type=Path, default=Path("results/paper"), help="folder of the paper's numbers")
    parser.add_argument("--out", type=Path, default=Path("results/tables"), help="the index goes to its parent folder")
    parser.add_argument("--configs", type=Path, default=Path("configs"), help="whose recipes get a command")
    return make("tables", build, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
