"""The least that a server around the text encoder takes: one bare Starlette route under the same uvicorn.

`python -m bench.bare_front`, started as the server is (`bench.server.launched`): the same settings say where it listens
and where the bundle is. `POST /embed` runs the encoder in the event loop, and nobody else is answered meanwhile;
`POST /embed/thread` in Starlette's threads, as a server does that has other clients too. Bodies are decoded and answers
encoded by msgspec, as in the server. There is no queue, limit, deadline, check of what is sent, metric or log.
"""

import os
from pathlib import Path

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.models.bundle import Bundle
from runtime.models.text_encoder import TextEncoder, load_encoder

_encode = msgspec.json.Encoder().encode


class _Text(msgspec.Struct):
    text: str


_decode = msgspec.json.Decoder(_Text).decode


def application(encoder: TextEncoder) -> Starlette:
    """The two routes around an encoder."""

    def answer(text: str) -> bytes:
        tokens = encoder.tokenize(text)
        vector = encoder.embed(tokens.ids)
        return _encode({"embedding": vector.tolist(), "tokens": tokens.count, "model_version": encoder.model_version})

    async def in_loop(request: Request) -> Response:
        return Response(answer(_decode(await request.body()).text), media_type="application/json")

    async def in_thread(request: Request) -> Response:
        text = _decode(await request.body()).text
        return Response(await run_in_threadpool(answer, text), media_type="application/json")

    async def ready(request: Request) -> Response:
        return Response()

    return Starlette(
        routes=[
            Route("/embed", in_loop, methods=["POST"]),
            Route("/embed/thread", in_thread, methods=["POST"]),
            Route("/readyz", ready),
        ]
    )


def main() -> None:
    """Serve until SIGTERM."""
    bundle = Bundle.load(Path(os.environ["VOWS_MODELS_DIR"]) / "minilm", kind="text-encoder")
    encoder, _ = load_encoder(bundle)
    uvicorn.run(
        application(encoder),
        host=os.environ["VOWS_HOST"],
        port=int(os.environ["VOWS_PORT"]),
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
