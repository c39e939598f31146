"""How instructions are worded for a model, in training and in conversations of several turns."""

from string import Formatter

from pydantic import field_validator

from experiments.errors import UserError
from experiments.typed import Typed


class Wording(Typed):
    """Templates of the text before an answer, with {instruction} and {input}. The answer follows without a space.

    next_turn: the text after an answer and its end of text where the conversation continues. with_input: None for data
    without inputs.
    """

    with_input: str | None
    without_input: str
    next_turn: str

    @field_validator("with_input", "without_input", "next_turn")
    @classmethod
    def _has_its_places(cls, text: str | None, info) -> str | None:
        if text is None:
            return text
        places = {"instruction", "input"} if info.field_name == "with_input" else {"instruction"}
        found = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        if found != places:
            expected = " and ".join(f"{{{place}}}" for place in sorted(places, reverse=True))
            raise ValueError(f"needs {expected} and nothing else in braces, has {', '.join(sorted(found)) or 'none'}")
        return text

    def ask(self, instruction: str, given: str = "") -> str:
        """The prompt of one instruction. Raises UserError for an input where `with_input` is None."""
        if not given:
            return self.without_input.format(instruction=instruction)
        if self.with_input is None:
            raise UserError(f"task.wording.with_input=null: {instruction!r} comes with an input; give it a wording")
        return self.with_input.format(instruction=instruction, input=given)

    def go_on(self, instruction: str) -> str:
        """The text after an answer and its end of text that asks the next instruction."""
        return self.next_turn.format(instruction=instruction)
