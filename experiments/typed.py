"""What every node of the configuration is: typed, range-checked, closed to unknown keys, and unchanging."""

from pydantic import BaseModel, ConfigDict


class Typed(BaseModel):
    """Base of the configuration's nodes. The defaults stand in configs/, not here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
