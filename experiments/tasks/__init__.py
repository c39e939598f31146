"""The tasks, one family a file. The configuration's `task.family` picks one."""

from typing import Annotated

from pydantic import Field

from experiments.tasks.e2e import E2ETask
from experiments.tasks.excerpt import Excerpt
from experiments.tasks.glue import GlueTask
from experiments.tasks.images import ImageTask
from experiments.tasks.instruct import InstructTask
from experiments.tasks.own import OwnImages, OwnInstructions, OwnText

AnyTask = Annotated[
    GlueTask | ImageTask | E2ETask | InstructTask | Excerpt | OwnText | OwnImages | OwnInstructions,
    Field(discriminator="family"),
]
