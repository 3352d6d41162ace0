"""Names in checkpoints of format 1, and what they are called now: such checkpoints stay readable."""

from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")

# Parameters and buffers, by prefix: the first that matches counts.
_PARAMETERS = (
    ("learned.codes.", "content_vector.id_embedding."),
    ("learned.weight", "content_vector.id_weight"),
    ("learned.", "content_vector."),
    ("centre", "content_mean"),
    ("faces_of_item.", "item_projections."),
    ("taste.usual", "preference_regression.prior_mean"),
    ("taste.rate", "preference_regression.log_step_size"),
    ("taste.prior", "preference_regression.log_prior_precision"),
    ("taste.doubt", "preference_regression.log_pseudo_count"),
    ("taste.", "preference_regression."),
    ("read_moment.", "read_context."),
    ("read_taste.", "read_preference."),
    ("read_pointed.", "pointer_gain."),
    ("read_stated.", "read_preference_embedding."),
    ("item_line.", "item_linear."),
    ("candidate_moment.", "candidate_context."),
    ("candidate_taste.", "candidate_utility."),
    ("action_alike", "action_similarity"),
)
_FIELDS = {  # of the recipe and of the model's configuration
    "taste_steps": "regression_steps",
    "code_rate": "id_rate_factor",
    "factors": "factorised_ids",
    "stated_dropout": "preference_embedding_dropout",
    "likeness": "similarity",
}
_SAMPLE = {"stated": "preference_embedding", "days_to_wedding": "days_to_event"}
_RECIPES = {"pretrained on other worlds": "fine-tuned from other worlds"}


def current_parameters(state: Mapping[str, Value]) -> dict[str, Value]:
    """A state dict of format 1 with the parameters' names of today."""
    return {_current_parameter(name): value for name, value in state.items()}


def current_config(config: dict[str, Any]) -> dict[str, Any]:
    """The content of a config.json, of format 1 or of today, with the names of today."""
    if config["format"] != 1:
        return config
    recipe, model = ({_FIELDS.get(k, k): v for k, v in config[part].items()} for part in ("recipe", "model"))
    recipe["name"] = _RECIPES.get(recipe["name"], recipe["name"])
    data = config["data"] | {"name": config["data"]["name"].replace(", omega ", ", order strength ")}
    return config | {"recipe": recipe, "model": model, "data": data}


def current_sample(sample: Mapping[str, Value]) -> dict[str, Value]:
    """The arrays of a sample.safetensors, of format 1 or of today, with the names of today."""
    return {_SAMPLE.get(name, name): value for name, value in sample.items()}


def _current_parameter(name: str) -> str:
    for before, now in _PARAMETERS:
        if name.startswith(before):
            return now + name.removeprefix(before)
    return name
