"""What the studies show, as files: a page a scale in Markdown and LaTeX, and its figures as PNG and PDF."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from experiments.report.render import latex, page
from experiments.studies.base import Report, Study
from experiments.style import save


def stem(study: Study, report: Report, word: str = "") -> str:
    """The name of a file, without its kind."""
    return "_".join(part for part in ("study", study.name, report.scale, word) if part)


def texts(study: Study, reports: Iterable[Report]) -> dict[str, str]:
    """The pages by their names."""
    files = {}
    for report in reports:
        heading = f"{study.title}, {report.scale} scale"
        captioned = [replace(table, title=f"{heading}: {table.title}") for table in report.tables]
        files[f"{stem(study, report)}.md"] = page(heading, report.tables, report.notes)
        files[f"{stem(study, report)}.tex"] = "\n".join(latex(table, report.notes) for table in captioned)
    return files


def entry(study: Study, report: Report, folder: str) -> str:
    """The page and the figures as a line of an index, which stands beside `folder`, the tables', and figures/."""
    file, figures = f"{folder}/{stem(study, report)}", [stem(study, report, word) for word in report.figures]
    links = ", ".join([f"[LaTeX]({file}.tex)", *(f"[figure](figures/{figure}.png)" for figure in figures)])
    return f"[{study.title}, {report.scale} scale]({file}.md) ({links})"


def draw(study: Study, reports: Iterable[Report], out: Path) -> list[Path]:
    """Write the figures; returns their paths. Raises RecordError."""
    return [
        save(figure, out / f"{stem(study, report, word)}.{kind}")
        for report in reports
        for word, figure in report.figures.items()
        for kind in ("pdf", "png")
    ]
