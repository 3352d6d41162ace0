"""Latency of one text by its length: in process and over HTTP, against the fp32 roofline of the same rounds."""

import random
import statistics

from bench.http_client import Connection, build_request
from bench.in_process import encoder_process
from bench.roofline import roofline_ms
from bench.server import serving
from bench.suite import Case, Conditions, Metric, Samples, Suite, difference, percentile_difference, ratio, raw
from bench.texts import text_source

LENGTHS = (16, 32, 64, 128, 256)  # tokens, [CLS] and [SEP] included
TEXTS_A_ROUND = 5
WARM_UP_TEXTS = 5


def measure(conditions: Conditions, samples: Samples) -> None:
    """Interleave, round by round on one core: the roofline, the encoder in process, the server over one connection.

    Every text is new. The lengths, and which side goes first, are drawn anew each round.
    """
    source = text_source(conditions)
    draw = random.Random(conditions.seed)
    awake = conditions.client_core != conditions.server_core
    with (
        encoder_process(conditions) as encoder,
        serving(conditions) as server,
        server.connect(awake=awake) as connection,
    ):
        samples.note("encoding", encoder.encoding)
        for tokens in LENGTHS:
            for text in source.texts(tokens, WARM_UP_TEXTS):
                encoder.embed_ms([text])
                connection.request_json(_request(text))
        for _ in range(conditions.rounds(full=40, quick=2)):
            flops_per_s = encoder.flops_per_s()
            samples.add("gflops", flops_per_s / 1e9)
            for tokens in draw.sample(LENGTHS, len(LENGTHS)):
                texts = source.texts(tokens, TEXTS_A_ROUND)
                http: list[float] = []
                over_http_first = draw.random() < 0.5
                if over_http_first:
                    http = [_timed(connection, text) for text in texts]
                text_ms, model_ms = encoder.embed_ms(texts)
                if not over_http_first:
                    http = [_timed(connection, text) for text in texts]
                samples.add(f"text_ms.{tokens}", *text_ms)
                samples.add(f"http_ms.{tokens}", *http)
                samples.add(f"roofline_ms.{tokens}", roofline_ms(tokens, flops_per_s))
                samples.add(f"overhead_ms.{tokens}", *(ms - statistics.median(text_ms) for ms in http))
                samples.add(f"round_text_ms.{tokens}", statistics.median(text_ms))
                samples.add(f"round_model_ms.{tokens}", statistics.median(model_ms))
                samples.add(f"round_http_ms.{tokens}", statistics.median(http))


def _request(text: str) -> bytes:
    return build_request("POST", "/embed", {"type": "content", "text": text})


def _timed(connection: Connection, text: str) -> float:
    elapsed_ms, status = connection.timed(_request(text))
    if status != 200:
        raise RuntimeError(f"/embed answered {status}")
    return elapsed_ms


def _metrics(tokens: int) -> tuple[Metric, ...]:
    in_process, http = raw(f"text_ms.{tokens}"), raw(f"http_ms.{tokens}")
    case = "one client"
    return (
        Metric(f"embed.roofline_ms.{tokens}", case, "ms", "higher", raw(f"roofline_ms.{tokens}")),
        Metric(f"embed.in_process_p50_ms.{tokens}", case, "ms", "higher", in_process),
        Metric(f"embed.in_process_p95_ms.{tokens}", case, "ms", "higher", in_process, "p95"),
        Metric(f"embed.in_process_p99_ms.{tokens}", case, "ms", "higher", in_process, "p99"),
        Metric(
            f"embed.ratio_to_roofline.{tokens}",
            case,
            "x roofline",
            "higher",
            ratio(f"round_text_ms.{tokens}", f"roofline_ms.{tokens}"),
        ),
        Metric(f"embed.http_p50_ms.{tokens}", case, "ms", "higher", http),
        Metric(f"embed.http_p95_ms.{tokens}", case, "ms", "higher", http, "p95"),
        Metric(
            f"embed.http_overhead_ms.{tokens}",
            case,
            "ms",
            "higher",
            raw(f"overhead_ms.{tokens}"),
        ),
        Metric(
            f"embed.http_overhead_p95_ms.{tokens}",
            case,
            "ms",
            "higher",
            raw(f"overhead_ms.{tokens}"),
            "p95",
        ),
        Metric(
            f"embed.http_p95_difference_ms.{tokens}",
            case,
            "ms",
            "higher",
            percentile_difference(f"http_ms.{tokens}", f"text_ms.{tokens}", 95),
        ),
        Metric(
            f"embed.http_and_tokenize_ms.{tokens}",
            case,
            "ms",
            "higher",
            difference(f"round_http_ms.{tokens}", f"round_model_ms.{tokens}"),
        ),
    )


SUITE = Suite(
    name="embed",
    purpose="latency of one text by length, in process and over HTTP, against the fp32 roofline",
    reading="One text a request, every text new. `roofline_ms` is the time the model's matrix products would take in "
    "float32 at the best rate this core reached in the same round. `ratio_to_roofline` compares text to vector, "
    "tokenising included, round by round. `http_overhead_ms` is each request over HTTP minus the round's median in "
    "process, so its p95 includes the jitter of the model; `http_p95_difference_ms` is p95 over HTTP minus p95 in "
    "process; `http_and_tokenize_ms` is HTTP minus the model alone. The client waits without "
    "sleeping, on a core of its own.",
    cases=(Case("one client", measure),),
    metrics=(
        Metric("embed.core_gflops", "one client", "GFLOP/s", "lower", raw("gflops")),
        *(metric for tokens in LENGTHS for metric in _metrics(tokens)),
    ),
    per_cpu=True,
)
