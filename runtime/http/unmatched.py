"""Requests that no route takes: 404, or 405 with the methods that the path takes."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from runtime.http.errors import ApiError


def _allowed(request: Request) -> set[str]:
    """The methods that the path takes; Starlette reports those of the first route alone."""
    served = [route for route in request.app.routes if isinstance(route, Route)]
    return {
        method
        for route in served
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }


async def unmatched(request: Request, error: Exception) -> Response:
    """The answer where the path or the method is none that is served."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404:
        return ApiError(404, "unknown_path", f"nothing is served at {path!r}; see /docs").response()
    if error.status_code == 405:
        response = ApiError(405, "method_not_allowed", f"{path!r} does not take {request.method}; see /docs").response()
        response.headers["allow"] = ", ".join(sorted(_allowed(request)))
        return response
    return ApiError(error.status_code, "bad_request", error.detail).response()
