"""A page of tables, and of figures: its Markdown, its LaTeX, its line in the index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.figure import Figure

from experiments.report.render import Table, latex, markdown


@dataclass(frozen=True)
class Page:
    """Tables with the notes below them, and figures by a word that tells them apart ("" for one that needs none).

    key: by which a claim names it, and the beginning of its files' names. scale: of its records, where it has one.
    told: the end of its line in the index. appendix: Markdown below the notes.
    """

    key: str
    name: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    scale: str = ""
    told: str = ""
    appendix: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with the scale."""
        return f"{self.name}, {self.scale} scale" if self.scale else self.name

    @property
    def drawings(self) -> dict[str, Figure]:
        """The figures by the names of their files, without the kind."""
        return {self._stem(word): figure for word, figure in self.figures.items()}

    @property
    def texts(self) -> dict[str, str]:
        """The Markdown and the LaTeX by the names of their files."""
        tables = "".join(f"## {table.title}\n\n{markdown(table)}\n" for table in self.tables)
        notes = "".join(f"- {note}\n" for note in self.notes)
        above = f"{self.title}: " if self.scale else ""
        captioned = [replace(table, title=above + table.title) for table in self.tables]
        return {
            f"{self._stem()}.md": f"# {self.title}\n\n{tables}{notes}\n{self.appendix}".rstrip() + "\n",
            f"{self._stem()}.tex": "\n".join(latex(table, self.notes) for table in captioned),
        }

    def link(self, folder: str) -> str:
        """To the Markdown, which stands in `folder`."""
        return f"[{self.title}]({folder}/{self._stem()}.md)"

    def entry(self, folder: str) -> str:
        """Its line in an index that stands beside `folder` and figures/."""
        links = [f"[LaTeX]({folder}/{self._stem()}.tex)", *(f"[figure](figures/{stem}.png)" for stem in self.drawings)]
        return f"{self.link(folder)} ({', '.join(links)})" + (f"; {self.told}" if self.told else "")

    def _stem(self, word: str = "") -> str:
        return "_".join(part for part in (self.key, self.scale, word) if part)
