"""The tasks, one family a file. The configuration's `task.family` picks one."""

from experiments.tasks.glue import GlueTask

AnyTask = GlueTask
