"""Sentences and pairs of sentences: classes or scores, whatever the set."""

from pydantic import Field

from experiments.data.assets import Model, Source
from experiments.settings import Recipe, Train
from experiments.tasks.base import Prepared, Splits, Task


class SentenceTask(Task):
    """Base: one text or two a row, in the columns `inputs`, and a column `label`, a ClassLabel or float32 scores."""

    inputs: tuple[str, ...] = Field(min_length=1, max_length=2)

    def prepare_as(
        self, model: Model, weights: Source, splits: Splits, train: Train, recipe: Recipe, metrics: str, primary: str
    ) -> Prepared:
        """metrics: the set of Glue that names what is scored; primary: the one that chooses the best epoch.

        Raises UserError for a maximum length that the model does not have.
        """
        from experiments.tasks import encoded

        return encoded.prepared(self.name, self.inputs, model, weights, splits, train, recipe, metrics, primary)
