"""Score texts against their references, as E2E runs are scored: BLEU, NIST, METEOR, ROUGE-L, CIDEr.

    python -m scripts.score_texts runs/e2e/.../last/outputs.jsonl      # what a run left, its references included
    python -m scripts.score_texts outputs.txt references.txt           # the files of the official scripts

outputs.txt holds a text a line; references.txt a reference a line, with an empty line between the groups, one group a
text. Exit code 2 for files that cannot be read or do not match.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from pydantic import ConfigDict, Field

from experiments.data.meanings import spaced
from experiments.errors import UserError
from experiments.lines import Line, read_lines, text_lines
from experiments.metrics.e2e import scores


class _Row(Line):
    """What is scored of a line of outputs.jsonl."""

    model_config = ConfigDict(extra="ignore")

    output: str
    references: list[str] = Field(min_length=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path, help="outputs.jsonl of a run, or a text a line")
    parser.add_argument("references", type=Path, nargs="?", help="groups of references; not with outputs.jsonl")
    options = parser.parse_args(arguments)
    try:
        outputs, references = read(options.outputs, options.references)
        found = scores(outputs, references)
    except UserError as error:
        print(f"score_texts: {error}", file=sys.stderr)
        return 2
    print(f"{'texts':<12} {len(outputs)}", *(f"{name:<12} {value:.4f}" for name, value in found.items()), sep="\n")
    return 0


def read(outputs: Path, references: Path | None) -> tuple[list[str], list[list[str]]]:
    """Texts, and of each its references. Raises UserError."""
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
            "group a text, with an empty line between two groups"
        )
    return texts, groups


def _is_blank(line: str) -> bool:
    return not line.strip()


if __name__ == "__main__":
    sys.exit(main())
