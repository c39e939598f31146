"""The methods of fine-tuning. The configuration's `method.name` picks one."""

from typing import Annotated

from pydantic import Field

from experiments.methods.adalora import AdaLora
from experiments.methods.adapters import Adapter, AdapterDrop
from experiments.methods.bitfit import BitFit
from experiments.methods.by_peft import AnyTuner
from experiments.methods.dylora import DyLora
from experiments.methods.fourierft import FourierFT
from experiments.methods.full import Full
from experiments.methods.head_only import HeadOnly
from experiments.methods.lora import Lora
from experiments.methods.lora_xs import LoraXs

AnyMethod = Annotated[
    FourierFT | Lora | LoraXs | DyLora | AdaLora | Adapter | AdapterDrop | BitFit | Full | HeadOnly | AnyTuner,
    Field(discriminator="name"),
]
