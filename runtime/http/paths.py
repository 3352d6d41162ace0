"""Paths as clients write them."""

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """ASGI middleware: a slash at the end of a path means nothing, so that DELETE /user/ada/ deletes "ada".

    Ids may hold slashes, also at their end, where they are sent as %2F.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["raw_path"][-1:] == b"/" and len(scope["raw_path"]) > 1:
            raw = scope["raw_path"].rstrip(b"/") or b"/"
            scope["path"] = scope["path"][: len(scope["path"]) - len(scope["raw_path"]) + len(raw)]
            scope["raw_path"] = raw
        await self._app(scope, receive, send)
