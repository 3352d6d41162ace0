"""What is read from the samples: our time beside the fastest engine of the same quality, and the report's tables."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.case_result import CaseResult, Series
from bench.peers.engines import ENGINES, INSTEAD, INT8_PEERS, OURS, SAME_MODEL, Engine
from export.recipes import Gate

LENGTHS = (16, 32, 128, 256)  # tokens, [CLS] and [SEP] included
SPEED = "side by side"
GATE = Gate()  # the quality that our own bundle must reach, and so every engine that its speed is held against


def memory_case(name: str) -> str:
    """The case that reads an engine's memory."""
    return f"memory, {name}"


def instead_case(name: str) -> str:
    """The case that says what another model is good for, and how fast it is; ours beside them."""
    return f"instead, {name}"


def limit_case(name: str) -> str:
    """The case that runs it under a hard limit."""
    return f"256 MiB, {name}"


def passes_gate(series: Series, name: str) -> bool:
    """Whether an engine's vectors are as close to float32 as an exported bundle's must be."""
    cosines = series.get(f"cosine.{name}") or [0.0]
    return statistics.fmean(cosines) >= GATE.min_mean_cosine and min(cosines) >= GATE.min_cosine


def fastest(series: Series, tokens: int) -> str | None:
    """The other engine with integer weights that passes the gate and has the lowest median over rounds at that length;
    None where none was timed."""
    timed = {
        name: statistics.median(times)
        for name in INT8_PEERS
        if passes_gate(series, name) and (times := series.get(f"round_ms.{name}.{tokens}"))
    }
    return min(timed, key=lambda name: timed[name], default=None)


def ratio_to_fastest(tokens: int) -> Callable[[Series], Sequence[float]]:
    """Round by round, our encoder behind the front over that engine behind it; [] where either is missing."""

    def values(series: Series) -> Sequence[float]:
        peer = fastest(series, tokens)
        ours = series.get(f"round_ms.{OURS}.{tokens}", ())
        theirs = series.get(f"round_ms.{peer}.{tokens}", ())
        return [a / b for a, b in zip(ours, theirs, strict=False)]

    return values


def our_cosine(statistic: Callable[[Sequence[float]], float]) -> Callable[[Series], Sequence[float]]:
    """A statistic of our cosines to float32, which the gate is about."""

    def values(series: Series) -> Sequence[float]:
        cosines = series.get(f"cosine.{OURS}")
        return [statistic(cosines)] if cosines else []

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


def _times(engine: Engine, series: Series) -> list[str]:
    return [spread(series.get(f"round_ms.{engine.name}.{tokens}", [])) for tokens in LENGTHS]


def _speed_row(engine: Engine, result: CaseResult) -> str:
    name, series = engine.name, result.series
    cosines = series.get(f"cosine.{name}", [])
    if why := result.notes.get(f"failed.{name}", result.failed or result.not_measured):
        gate = _short(str(why).removeprefix("NotMeasured: "))
    else:
        gate = ("passes" if passes_gate(series, name) else "misses") if cosines else "–"
    cells = [
        f"{_cosine(statistics.fmean(cosines))} / {_cosine(min(cosines))}" if cosines else "–",
        gate,
        *_times(engine, series),
        spread(series.get(f"requests_per_s.{name}", [])),
    ]
    row = [engine.label, engine.arithmetic, *cells]
    return _row([f"*{cell}*" for cell in row] if gate == "misses" else row)


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
    """A Markdown table for each question that was measured, a row for every engine, the failed ones included."""
    tables = (
        ("How fast is it, and how close to float32 are its vectors?", _speed(results)),
        ("How much memory does it take?", _memory(results)),
        ("What would another model give instead?", _instead(results)),
    )
    return "\n\n".join(f"**{question}**\n\n" + "\n".join(lines) for question, lines in tables if lines)


def _speed(results: Mapping[str, CaseResult]) -> list[str]:
    if (speed := results.get(SPEED)) is None:
        return []
    roofline = [spread(speed.series.get(f"roofline_ms.{tokens}", [])) for tokens in LENGTHS]
    return [
        *_heading("engine", "arithmetic", "cosine mean / min", "quality gate", *_TIMES, "requests/s"),
        "| *fp32 roofline* | | | | " + " | ".join(roofline) + " | |",
        *(_speed_row(engine, speed) for engine in SAME_MODEL),
    ]


def _memory(results: Mapping[str, CaseResult]) -> list[str]:
    if not any(results.get(case(engine.name)) for case in (memory_case, limit_case) for engine in ENGINES):
        return []
    columns = (
        *("first answer, s", "ready, MiB", "of it anonymous", "peak, single texts", "peak, 32 x 256"),
        *("installed, MiB", "in 256 MiB", ""),
    )
    return [
        *_heading("engine", "arithmetic", *columns),
        *(_line(engine, _memory_row(engine, results)) for engine in ENGINES),
    ]


def _instead(results: Mapping[str, CaseResult]) -> list[str]:
    """Other models that one might choose, below ours."""
    if not any(results.get(instead_case(engine.name)) for engine in INSTEAD):
        return []
    lines = _heading("model", "arithmetic", "STS-B test, Spearman", *_TIMES, "")
    for engine in INSTEAD:
        result = results.get(instead_case(engine.name), CaseResult(not_measured="did not run"))
        scores = result.series.get(f"stsb.{engine.name}", [])
        why = _short(result.failed or result.not_measured or "")
        lines.append(_line(engine, [f"{scores[0]:.4f}" if scores else "–", *_times(engine, result.series), why]))
    return lines


_TIMES = tuple(f"{tokens} tokens, ms" for tokens in LENGTHS)


def _heading(*columns: str) -> list[str]:
    return [_row(columns), "|---" * len(columns) + "|"]


def _line(engine: Engine, cells: Sequence[str]) -> str:
    return _row([engine.label, engine.arithmetic, *cells])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
