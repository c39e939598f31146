"""Score texts against references, as in runs on E2E: BLEU, NIST, METEOR, ROUGE-L, CIDEr.

    python -m scripts.score_texts runs/e2e/.../last/outputs.jsonl      # of a run, with its references
    python -m scripts.score_texts outputs.txt references.txt           # as for the official scripts

outputs.txt has one text per line; references.txt one reference per line, with an empty line between the groups, one
group per text. Exit code 2 for files that cannot be read or do not match.
"""

import argparse
import sys
from itertools import groupby
from pathlib import Path

from pydantic import ConfigDict, Field

from experiments.command import Command
from experiments.data.meanings import spaced
from experiments.errors import UserError
from experiments.lines import Line, read_lines, text_lines
from experiments.metrics.e2e import E2E


class _Row(Line):
    """The scored fields of a line of outputs.jsonl."""

    model_config = ConfigDict(extra="ignore")

    output: str
    references: list[str] = Field(min_length=1)


def work(options: argparse.Namespace) -> None:
    """Print the scores. Raises UserError."""
    outputs, references = read(options.outputs, options.references)
    found = E2E().compute(predictions=outputs, references=references)
    print(f"{'texts':<12} {len(outputs)}", *(f"{name:<12} {value:.4f}" for name, value in found.items()), sep="\n")


def read(outputs: Path, references: Path | None) -> tuple[list[str], list[list[str]]]:
    """The texts, and the references of each. Raises UserError."""
    if references is None:
        try:
            rows = read_lines(outputs, _Row)
        except UserError as error:
            raise UserError(f"{error}; or give a file of references too") from error
        return [row.output for row in rows], [list(map(spaced, row.references)) for row in rows]
    texts = text_lines(outputs)
    groups = [list(group) for blank, group in groupby(text_lines(references), key=_is_blank) if not blank]
    if len(groups) != len(texts):
        raise UserError(
            f"{references}: {len(groups)} groups of references for the {len(texts)} texts of {outputs}; it needs one "
            "group per text, with an empty line between two groups"
        )
    return texts, groups


def _is_blank(line: str) -> bool:
    return not line.strip()


main = Command("score_texts", __doc__, work)
main.add_argument("outputs", type=Path, help="outputs.jsonl of a run, or one text per line")
main.add_argument("references", type=Path, nargs="?", help="groups of references; not with outputs.jsonl")

if __name__ == "__main__":
    sys.exit(main())
