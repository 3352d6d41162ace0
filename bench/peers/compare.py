"""What is read from the samples: ratios between engines, and one row an engine for the report."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.case_result import CaseResult, Series
from bench.peers.engines import ENGINES, INSTEAD, INT8_PEERS, OURS, SAME_MODEL, Engine

LENGTHS = (16, 32, 128, 256)  # tokens, [CLS] and [SEP] included
SPEED = "side by side"


def memory_case(name: str) -> str:
    """The case that reads an engine's memory."""
    return f"memory, {name}"


def instead_case(name: str) -> str:
    """The case that says what another model is good for, and how fast it is; ours beside them."""
    return f"instead, {name}"


def limit_case(name: str) -> str:
    """The case that runs it under a hard limit."""
    return f"256 MiB, {name}"


def fastest(series: Series, tokens: int, names: Sequence[str] = INT8_PEERS) -> str | None:
    """The engine of the lowest median over rounds at that length; None where none was timed."""
    timed = {name: values for name in names if (values := series.get(f"round_ms.{name}.{tokens}"))}
    return min(timed, key=lambda name: statistics.median(timed[name]), default=None)


def ratio_to_fastest(tokens: int) -> Callable[[Series], Sequence[float]]:
    """Round by round, our encoder behind the front over the fastest int8 peer behind it; [] where either is missing."""

    def values(series: Series) -> Sequence[float]:
        peer = fastest(series, tokens)
        ours = series.get(f"round_ms.{OURS}.{tokens}", ())
        theirs = series.get(f"round_ms.{peer}.{tokens}", ())
        return [a / b for a, b in zip(ours, theirs, strict=False)]

    return values


def cosine_minus_best_int8(statistic: Callable[[Sequence[float]], float]) -> Callable[[Series], Sequence[float]]:
    """Our cosine to float32 minus the best of the other engines with integer products (not just integer weights)."""

    def values(series: Series) -> Sequence[float]:
        arithmetic = {engine.name: engine.arithmetic for engine in ENGINES}
        theirs = [
            statistic(cosines)
            for name in INT8_PEERS
            if arithmetic[name] == "int8" and (cosines := series.get(f"cosine.{name}"))
        ]
        ours = series.get(f"cosine.{OURS}")
        return [statistic(ours) - max(theirs)] if ours and theirs else []

    return values


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """`median (min–max)`, or `–` without values."""
    if not values:
        return "–"
    middle = _figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_figure(min(values))}–{_figure(max(values))})"


def _cosine(value: float) -> str:
    return f"{value:.5f}" if value > 0.9995 else f"{value:.4f}"


def _speed_row(engine: Engine, result: CaseResult) -> list[str]:
    name, series = engine.name, result.series
    cosines = series.get(f"cosine.{name}", [])
    why = result.notes.get(f"failed.{name}", result.failed or result.not_measured)
    cells = [
        f"{_cosine(statistics.fmean(cosines))} / {_cosine(min(cosines))}" if cosines else "–",
        *(spread(series.get(f"round_ms.{name}.{tokens}", [])) for tokens in LENGTHS),
        spread(series.get(f"requests_per_s.{name}", [])),
    ]
    return [*cells, "" if why is None else _short(str(why))]


def _memory_row(engine: Engine, results: Mapping[str, CaseResult]) -> list[str]:
    memory, limit = results.get(memory_case(engine.name)), results.get(limit_case(engine.name))
    series = memory.series if memory else {}
    columns = (
        "first_answer_s",
        "ready_rss_mib",
        "ready_anonymous_mib",
        "singles_peak_mib",
        "batch_peak_mib",
        "install_mib",
    )
    whys = [why for case in (memory, limit) if case for why in (case.failed, case.not_measured) if why]
    lived = "–"
    if limit and limit.series.get("survived"):
        lived = "**survived**" if limit.series["survived"][0] else str(limit.notes["stopped"])
    return [*(spread(series.get(column, [])) for column in columns), lived, _short(whys[0]) if whys else ""]


def _short(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:160]


def comparison(results: Mapping[str, CaseResult]) -> str:
    """Markdown tables of speed, memory and other models, a row for every engine, the failed ones included."""
    lines = [
        "| engine | arithmetic | cosine mean / min | "
        + " | ".join(f"{tokens} tokens, ms" for tokens in LENGTHS)
        + " | requests/s | |",
        "|---" * (len(LENGTHS) + 5) + "|",
    ]
    speed = results.get(SPEED)
    if speed is not None:
        roofline = [spread(speed.series.get(f"roofline_ms.{tokens}", [])) for tokens in LENGTHS]
        lines.append("| *fp32 roofline* | | | " + " | ".join(roofline) + " | | |")
        lines += [_line(engine, _speed_row(engine, speed)) for engine in SAME_MODEL]
    lines += [
        "",
        "| engine | arithmetic | first answer, s | ready, MiB | of it anonymous | peak, single texts | "
        "peak, 32 x 256 | installed, MiB | in 256 MiB | |",
        "|---" * 10 + "|",
        *(_line(engine, _memory_row(engine, results)) for engine in ENGINES),
    ]
    return "\n".join(lines) + "\n\n" + _instead(results)


def _instead(results: Mapping[str, CaseResult]) -> str:
    """A Markdown table of other models that one might choose instead, below ours."""
    lines = [
        "| instead: another model | arithmetic | STS-B test, Spearman | "
        + " | ".join(f"{tokens} tokens, ms" for tokens in LENGTHS)
        + " | |",
        "|---" * (len(LENGTHS) + 4) + "|",
    ]
    for engine in INSTEAD:
        result = results.get(instead_case(engine.name), CaseResult(not_measured="did not run"))
        _, *times, _, why = _speed_row(engine, result)
        scores = result.series.get(f"stsb.{engine.name}", [])
        lines.append(_line(engine, [f"{scores[0]:.4f}" if scores else "–", *times, why]))
    return "\n".join(lines)


def _line(engine: Engine, cells: Sequence[str]) -> str:
    return "| " + " | ".join([engine.label, engine.arithmetic, *cells]) + " |"
