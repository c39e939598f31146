"""The settings for dropout in the configuration of each type of model."""

from experiments.errors import UserError

ENCODER = ("hidden_dropout_prob", "attention_probs_dropout_prob")
SETTINGS = {
    "bert": ENCODER,
    "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "llama": ("attention_dropout",),
    "roberta": ENCODER,
    "timm_wrapper": ("pos_drop_rate", "proj_drop_rate", "attn_drop_rate"),
    "vit": ENCODER,
}


def dropout_settings(model_type: str, dropout: float | None) -> dict[str, float]:
    """The settings that give a model this dropout everywhere; none where `dropout` is None, which keeps its own.

    Raises UserError for a type of model that is not known here.
    """
    if dropout is None:
        return {}
    if model_type not in SETTINGS:
        raise UserError(f"model.dropout={dropout}: of no known meaning for {model_type}; use model.dropout=null")
    return dict.fromkeys(SETTINGS[model_type], dropout)
