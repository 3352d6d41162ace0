"""Names in results of format 1, and what they are called now: such results stay readable."""

from typing import Any

# Keys of format 1 → their names now.
_KEYS = {
    "contender": "model",
    "contender_accuracy": "model_accuracy",
    "contender_ndcg10": "model_ndcg10",
    "way_from_baseline": "gap_closed",
    "bound": "oracle",
    "omega": "order_strength",
    "users_asked": "users",
    "twins": "without_model",
    "stated": "predicted",
}
# Names of data sets and models, and sentences, that are stored as values.
_WORDS = (
    ("simulated, omega ", "simulated, order strength "),
    ("simulated, ω = ", "simulated, order strength "),
    ("pretrained on other worlds", "fine-tuned from other worlds"),
    (
        "it shows whether order is learnt where there is order, nothing else",
        "it shows only whether a model learns order",
    ),
    ("do not foretell each other", "do not predict each other"),
)


def from_format_1(value: Any) -> Any:
    """Decoded JSON of format 1 with the keys, names and sentences of today."""
    if isinstance(value, dict):
        return {_current(_KEYS.get(str(key), str(key))): from_format_1(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_format_1(item) for item in value]
    return _current(value) if isinstance(value, str) else value


def _current(text: str) -> str:
    for before, now in _WORDS:
        text = text.replace(before, now)
    return text
