"""The tasks, one family a file. The configuration's `task.family` picks one."""

from typing import Annotated

from pydantic import Field

from experiments.tasks.glue import GlueTask
from experiments.tasks.images import ImageTask

AnyTask = Annotated[GlueTask | ImageTask, Field(discriminator="family")]
