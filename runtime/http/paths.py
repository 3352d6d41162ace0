"""Paths as clients write them."""

from starlette.types import Scope


def drop_trailing_slash(scope: Scope) -> None:
    """A slash at the end of a path means nothing, so that DELETE /user/ada/ deletes "ada".

    Ids may hold slashes, also at their end, where they are sent as %2F.
    """
    raw = scope["raw_path"]
    if raw[-1:] == b"/" and len(raw) > 1:
        shorter = raw.rstrip(b"/") or b"/"
        scope["path"] = scope["path"][: len(scope["path"]) - len(raw) + len(shorter)]
        scope["raw_path"] = shorter
