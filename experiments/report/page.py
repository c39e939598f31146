"""A page of tables, and of figures: its Markdown, its LaTeX, its line in the index."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.record import replace_file
from experiments.report.render import Table, latex, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Page:
    """Tables, the notes below them, and what draws the figures, by the suffix of their file names ("" for none).

    key: how claims refer to it, and the prefix of its file names. scale: of its records, if it has one.
    index_note: what its index line ends with. appendix: Markdown below the notes. shared: figures that are the same at
    every scale, which their file names leave out.
    """

    key: str
    name: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    scale: str = ""
    index_note: str = ""
    appendix: str = ""
    figures: Mapping[str, Callable[[], "Figure"]] = field(default_factory=dict)
    shared: Mapping[str, Callable[[], "Figure"]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with the scale."""
        return f"{self.name}, {self.scale} scale" if self.scale else self.name

    @property
    def texts(self) -> dict[str, str]:
        """File name -> text, the Markdown and the LaTeX."""
        tables = "".join(f"## {table.title}\n\n{markdown(table)}\n" for table in self.tables)
        notes = "".join(f"- {note}\n" for note in self.notes)
        above = f"{self.title}: " if self.scale else ""
        captioned = [replace(table, title=above + table.title) for table in self.tables]
        return {
            f"{self._stem()}.md": f"# {self.title}\n\n{tables}{notes}\n{self.appendix}".rstrip() + "\n",
            f"{self._stem()}.tex": "\n".join(latex(table, self.notes) for table in captioned),
        }

    def write_texts(self, folder: Path) -> list[Path]:
        """Write the Markdown and the LaTeX; returns their paths. Raises RecordError."""
        for name, text in self.texts.items():
            replace_file(folder / name, text.encode())
        return [folder / name for name in self.texts]

    @property
    def drawn(self) -> dict[str, Callable[[], "Figure"]]:
        """File name without its suffix -> what draws the figure."""
        own = {self._stem(word): draw for word, draw in self.figures.items()}
        return own | {f"{self.key}_{word}": draw for word, draw in self.shared.items()}

    def link(self, folder: str) -> str:
        """A Markdown link to the page, which lies in `folder`."""
        return f"[{self.title}]({folder}/{self._stem()}.md)"

    def entry(self, folder: str) -> str:
        """Its line in an index that lies beside `folder` and figures/."""
        links = [
            f"[LaTeX]({folder}/{self._stem()}.tex)",
            *(f"[figure](figures/{stem}.png)" for stem in self.drawn),
        ]
        return f"{self.link(folder)} ({', '.join(links)})" + (f"; {self.index_note}" if self.index_note else "")

    def _stem(self, word: str = "") -> str:
        return "_".join(part for part in (self.key, self.scale, word) if part)


def write_figures(pages: Iterable[Page], folder: Path) -> list[Path]:
    """Write the figures of pages, one that several share once; returns their paths. Raises RecordError."""
    from experiments.style import save_all  # here: it imports matplotlib, which pages of tables do without

    drawn = {stem: draw for page in pages for stem, draw in page.drawn.items()}
    return [path for stem, draw in drawn.items() for path in save_all(draw(), folder, stem)]
