"""The methods of fine-tuning, one a file. The configuration's `method.name` picks one."""

from typing import Annotated

from pydantic import Field

from experiments.methods.bitfit import BitFit
from experiments.methods.fourierft import FourierFT
from experiments.methods.full import Full
from experiments.methods.head_only import HeadOnly
from experiments.methods.lora import Lora

AnyMethod = Annotated[FourierFT | Lora | Full | BitFit | HeadOnly, Field(discriminator="name")]
