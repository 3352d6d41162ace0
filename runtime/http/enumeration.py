"""Enumerations in answers: what they can say, for the documentation. They are not checked, being the server's own."""

from typing import Any

from msgspec import Meta


def one_of(*values: str) -> Any:
    """For Annotated[str, …]: the text is one of these values."""
    return Meta(extra_json_schema={"enum": list(values)})
