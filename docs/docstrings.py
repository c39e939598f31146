"""How the reference reads the docstrings: lines `name: what it is` become a list."""

import re

import griffe

FIELD = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)


class Fields(griffe.Extension):
    """Marks the fields of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring:
            marked = FIELD.sub(lambda found: f"\n- **{found[1].replace(', ', '**, **')}**: ", obj.docstring.value)
            obj.docstring.value = marked.replace("\n\n\n", "\n\n")
