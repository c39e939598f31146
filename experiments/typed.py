"""What every node of the configuration is: typed, range-checked, closed to unknown keys, and unchanging."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Typed(BaseModel):
    """Base of the configuration's nodes. The defaults stand in configs/, not here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
