"""What a configuration says of a language model: the precision of its weights, what it learns from, how it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from experiments.typed import Typed

if TYPE_CHECKING:
    from transformers import LogitsProcessor

Base = Literal["fp32", "bf16", "4bit"]
Learnt = Literal["answer", "all"]  # whether the loss includes the prompt
Overlong = Literal["cut", "drop"]  # what is done with a row that is too long


class BeamSearch(Typed):
    """Beam search. A text's score is its log-probability over its number of tokens to the power `length_penalty`."""

    beams: PositiveInt
    length_penalty: PositiveFloat
    no_repeat_ngram: NonNegativeInt
    max_new_tokens: PositiveInt

    def settings(self) -> dict[str, Any]:
        """As transformers' generation settings."""
        return {
            "num_beams": self.beams,
            "length_penalty": self.length_penalty,
            "early_stopping": "never",  # as in the LoRA paper's code: a longer text may score better
            "renormalize_logits": True,  # over the tokens that are not forbidden
        }

    def processors(self, rows: Sequence[int], prompt: int) -> list[LogitsProcessor]:
        """The processors of the next token's scores, for a batch of `rows` whose prompts end at token `prompt`."""
        from experiments.models.generation import NoRepeatedNGram

        return [NoRepeatedNGram(self.no_repeat_ngram, prompt)] if self.no_repeat_ngram else []


class Sampling(Typed):
    """Tokens drawn from the `top_k` likeliest, at each prompt's own temperature; 0: always the likeliest.

    A text depends on seed and row alone, not on its batch or the number of processes.
    """

    temperatures: list[float]
    top_k: int
    max_new_tokens: int
    seed: str

    def settings(self) -> dict[str, Any]:
        return {"num_beams": 1, "do_sample": False}  # the likeliest, once noise is added

    def processors(self, rows: Sequence[int], prompt: int) -> list[LogitsProcessor]:
        from experiments.models.generation import Noise

        return [Noise([self.temperatures[row] for row in rows], rows, self.top_k, self.seed)]


@dataclass(frozen=True)
class Text:
    """The text written after prompt `row`. finished: it ended before the limit of tokens."""

    row: int
    output: str
    tokens: int
    finished: bool
