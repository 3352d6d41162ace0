"""Counts and times of requests, and their text in Prometheus's exposition format (version 0.0.4).

Written out here rather than through prometheus-client, whose parser reads them in the tests: see
docs/decisions/004-own-pages.md for what it would cost.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from runtime.system.trace import Trace

# Seconds; from a cached text to a full batch.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

# Statuses of rejected requests: capacity, deadline, authorization.
_REJECTED = frozenset({401, 403, 413, 429, 503, 507})

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]  # suffix of the name, labels, value


class RequestMetrics:
    """Requests and responses since the start. Bounded: endpoints × statuses, error codes, reasons, keys."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._errors: Counter[str] = Counter()
        self._rejections: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._stages: dict[str, float] = {}  # seconds
        self._seconds: dict[str, float] = {}
        self._buckets: dict[str, list[int]] = {}

    def observe(self, trace: Trace, status: int, seconds: float) -> None:
        """One request that is over."""
        endpoint = trace.endpoint or "none"
        if trace.code is not None:
            self._errors[trace.code] += 1
        if trace.reason is not None and status in _REJECTED:
            self._rejections[trace.reason] += 1
        if trace.client is not None:
            self._clients[trace.client] += 1
        for stage, spent_s in trace.seconds.items():
            self._stages[stage] = self._stages.get(stage, 0.0) + spent_s
        self._answers[endpoint, status] += 1
        self._seconds[endpoint] = self._seconds.get(endpoint, 0.0) + seconds
        counts = self._buckets.setdefault(endpoint, [0] * (len(BUCKETS) + 1))
        counts[bisect_left(BUCKETS, seconds)] += 1

    def text(self) -> list[str]:
        """The lines of these metrics."""
        return [
            *renamed_family(
                "http_requests_total", "vows_requests_total", "counter", "Requests answered.",
                [("", {"endpoint": name, "status": str(status)}, n) for (name, status), n in self._answers.items()],
            ),
            *renamed_family(
                "http_request_errors_total", "vows_errors_total", "counter", "Error responses, by code.",
                [("", {"code": code}, n) for code, n in self._errors.items()],
            ),
            *renamed_family(
                "http_requests_rejected_total", "vows_refusals_total", "counter",
                "Requests rejected by capacity, deadline or authorization, by reason.",
                [("", {"reason": reason}, n) for reason, n in self._rejections.items()],
            ),
            *family(
                "vows_client_requests_total", "counter", "Requests by the name of their key.",
                [("", {"client": name}, n) for name, n in self._clients.items()],
            ),
            *family(
                "vows_stage_seconds_total", "counter", "Time that requests spent in each stage.",
                [("", {"stage": stage}, seconds) for stage, seconds in self._stages.items()],
            ),
            *renamed_family(
                "http_request_duration_seconds", "vows_request_seconds", "histogram",
                "Time from request to response.", list(self._histogram()),
            ),
        ]  # fmt: skip

    def _histogram(self) -> Iterable[Sample]:
        for endpoint, counts in self._buckets.items():
            total = 0
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                total += count
                yield "_bucket", {"endpoint": endpoint, "le": bound}, total
            yield "_sum", {"endpoint": endpoint}, self._seconds[endpoint]
            yield "_count", {"endpoint": endpoint}, total


def family(name: str, kind: str, help: str, samples: Iterable[Sample]) -> list[str]:
    """The lines of one metric: HELP, TYPE and a line a sample."""
    lines = [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{suffix}{{{pairs}}} {value!r}" if pairs else f"{name}{suffix} {value!r}")
    return lines


def renamed_family(name: str, deprecated: str, kind: str, help: str, samples: Sequence[Sample]) -> list[str]:
    """As `family`, and once more under the name that it had in the version before."""
    return [*family(name, kind, help, samples), *family(deprecated, kind, f"Deprecated: use {name}.", samples)]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
