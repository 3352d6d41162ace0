"""What a piece of content is, and which text of it the model reads."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from runtime.system.text import folded, visible

LongText = Annotated[str, Meta(max_length=32_768)]
ShortText = Annotated[str, Meta(max_length=1_000)]
Tag = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of one item. At least one text field must not be empty; `images` are stored, never fetched,
    and `category` is for filters."""

    type: Literal["content"] = "content"
    text: LongText | None = None
    title: ShortText | None = None
    description: LongText | None = None
    vendor_name: ShortText | None = None
    category: ShortText | None = None
    tags: Annotated[tuple[Tag, ...], Meta(max_length=64)] = ()
    images: Annotated[tuple[Url, ...], Meta(max_length=64)] = ()


def embedding_text(content: Content) -> tuple[str, list[str]]:
    """The text that stands for `content`, and the names of the fields that are in it.

    "{title} {description} {vendor_name} {tags}"; `text` takes the place of title and description where only it is
    given, and follows the vendor's name where it comes with them. Blank and invisible fields leave no trace.
    The text is empty when every field is.
    """
    has_heading = bool(visible(content.title) or visible(content.description))
    named = {
        "title": content.title,
        "description": content.description,
        "vendor_name": content.vendor_name,
        "text": content.text,
        "tags": " ".join(filter(visible, content.tags)),
    }
    order = ["title", "description", "vendor_name", "text", "tags"] if has_heading else ["text", "vendor_name", "tags"]
    parts = {name: stripped for name in order if (stripped := visible(named[name]))}
    return " ".join(parts.values()), list(parts)


def ignored_fields(content: Content) -> list[str]:
    """Fields that were given and that the model does not read."""
    return [name for name in ("category", "images") if getattr(content, name)]


def preferences_text(preferences: Iterable[str]) -> str:
    """The text that stands for onboarding preferences; empty where all are blank or invisible."""
    return ", ".join(stripped for one in preferences if (stripped := visible(one)))


class _Labelled(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] = ()
    vendor_name: str | None = None
    category: str | None = None


_decode_labelled = msgspec.json.Decoder(_Labelled).decode


def labels(*, tags: Iterable[str] = (), vendor: str | None = None, category: str | None = None) -> frozenset[str]:
    """What content is filtered by, one string each. Case, the width of spaces, invisible characters and how Unicode
    writes a letter (composed, decomposed, styled) make no difference; blanks are none.

    One function for items and filters, so that they agree.
    """
    given = [*(("tag", tag) for tag in tags), ("vendor", vendor or ""), ("category", category or "")]
    return frozenset(f"{kind} {name}" for kind, text in given if (name := folded(text)))


def tags_and_vendor(fields: bytes) -> tuple[tuple[str, ...], str | None]:
    """The tags and the vendor of stored content, as they were written."""
    found = _decode_labelled(fields)
    return found.tags, found.vendor_name


def content_labels(content: Content) -> frozenset[str]:
    """The labels of an item."""
    return labels(tags=content.tags, vendor=content.vendor_name, category=content.category)


def labels_of(fields: bytes) -> frozenset[str]:
    """The labels of stored content, from its fields as JSON."""
    found = _decode_labelled(fields)
    return labels(tags=found.tags, vendor=found.vendor_name, category=found.category)
