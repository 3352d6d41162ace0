"""The report's questions about rankings."""

from collections.abc import Sequence
from pathlib import Path

from runtime.personalization.hybrid import MET
from training.data import public
from training.evaluation import charts
from training.evaluation.baselines import EVERYTHING, WeightedAverage
from training.evaluation.markdown import table
from training.evaluation.results import Figure
from training.evaluation.targets import interval
from training.ranker.comparison import recommenders
from training.ranker.comparison_results import Compared, Comparison
from training.ranker.recommender import Hybrid, Prior, Simple
from training.ranker.with_sequence import HybridWithSequence
from training.report.wording import MARKS, Question, difference, label, listed, mark, verdict

_SERVED = (Hybrid.name, Prior.name, Simple.name, HybridWithSequence.name)
_FEW_EVENTS = 0.9
_NOTHING = Figure(0.0, 0.0, 0.0)
_SHORT = {EVERYTHING: "blend of everything", WeightedAverage.name: "simple, tuned"}


def ranking(entries: Sequence[Comparison], folder: Path) -> Question:
    """The fitted hybrid ranker, without and with the score of a sequence model, against its prior, the simple model as
    served, and the best baseline or blend."""
    best = {one.key: one.best_other(_SERVED) for one in entries}
    seconds = [(label(one), _second(one), best[one.key].second_ahead) for one in entries]
    measured = any(second for _, second, _ in seconds)
    rows = []
    for one, (_, second, ahead) in zip(entries, seconds, strict=True):
        other = best[one.key]
        found = [interval(second.ndcg_10), difference(ahead), difference(_minus_figure(second.ahead))] if second else []
        rows.append(
            [
                label(one), f"{one.targets:,}", f"{one.row(Simple.name).ndcg_10.value:.3f}",
                f"{one.row(Prior.name).ndcg_10.value:.3f}", f"{other.ndcg_10.value:.3f} {_name(other)}",
                interval(one.row(Hybrid.name).ndcg_10), difference(other.ahead),
                *((found or [""] * 3) if measured else []),
            ]
        )  # fmt: skip
    name = "ranker.svg"
    series: dict[str, list[Figure]] = {
        "hybrid, fitted": [one.row(Hybrid.name).ndcg_10 for one in entries],
        "hybrid, not fitted": [one.row(Prior.name).ndcg_10 for one in entries],
        "simple, as served": [one.row(Simple.name).ndcg_10 for one in entries],
        "best other": [best[one.key].ndcg_10 for one in entries],
    }
    charts.intervals([label(one) for one in entries], series, "NDCG@10", folder / name)
    gains = [(where, _minus_figure(second.ahead)) for where, second, _ in seconds if second]
    untrained = [(label(one), _minus(one, Prior.name, Simple.name)) for one in entries]
    below = [label for label, figure in untrained if figure < 0]
    answers = [
        verdict("The hybrid ranker, fitted to a log,", "the best other",
                [(label(one), best[one.key].ahead) for one in entries]),
        verdict("With the score of a sequence model as one more feature it", "the best other",
                [(where, ahead) for where, _, ahead in seconds]),
        verdict("The ranker with this score", "the one without", gains),
        f"Before it is fitted to anything, it ranks worse than the `simple` model on {listed(below)}." if below
        else "Before it is fitted to anything, it ranks better than the `simple` model everywhere.",
    ]  # fmt: skip
    head = ["data", "targets", "simple, as served", "hybrid, not fitted", "best other", "hybrid", "hybrid − best other"]
    if measured:
        head += ["with sequence model", "with it − best other", "with it − without"]
    note = f"\n\n*Blend of everything*: {EVERYTHING.removeprefix('blend: ')}."
    if measured and not all(second for _, second, _ in seconds):
        note += " Where the last columns are empty they were not measured."
    if any(_second(one) for one in entries if one.order_strength == 0):
        note += " At ω = 0 what the sequence model adds is not knowledge of order, because there is none."
    sampled = [f"{label(one)}: {limit}" for one in entries for limit in one.limits if limit.endswith("in even steps")]
    note += "".join(f" {text}." for text in (*sampled, *_not_compared(entries)))
    if before := [label(one) for one in entries if _is_of_one_set(one.row(Hybrid.name))]:
        note += (
            f" On {listed(before)} the hybrid was compared before items that the user has met had weights of their own "
            "([decision 017](../docs/decisions/017-hybrid-ranker.md))."
        )
    return Question(
        "Does the hybrid ranker rank better than tuned baselines?",
        " ".join(answer for answer in answers if answer),
        table(head, rows) + note,
        name,
    )


def _is_of_one_set(hybrid: Compared) -> bool:
    return bool(hybrid.choice) and not any(name.startswith(MET) for name in hybrid.choice)


def _second(one: Comparison) -> Compared | None:
    """The fitted hybrid with the score of a sequence model; None where it was not compared."""
    return one.row(HybridWithSequence.name) if one.has(HybridWithSequence.name) else None


def _minus_figure(figure: Figure | None) -> Figure | None:
    return None if figure is None else Figure(-figure.value, -figure.high, -figure.low)


def _not_compared(entries: Sequence[Comparison]) -> list[str]:
    """What is missing in the table: sets and splits, and models of those that are there."""
    there = {one.key for one in entries}
    splits = [(name, protocol) for name in public.NAMES for protocol in ("last", "time")]
    missing = [public.title(*one) for one in splits if ", ".join(one) not in there]
    every = [model.name for model in recommenders()]
    found = [f"Not measured: {listed(missing)}"] if missing else []
    for one in entries:
        lacking = [_SHORT.get(name, name) for name in every if name not in {row.name for row in one.rows}]
        if lacking:
            found.append(f"{label(one)} was not compared with {listed(lacking)}")
    return found


def new_items(entries: Sequence[Comparison], folder: Path) -> Question:
    """The same on items that the user never met, and on targets other than the last item."""
    repeating = [one for one in entries if one.repeats]
    measured = any(_second(one) for one in repeating)
    answers, tables = [], []
    for kind, subject, part in (
        ("never_seen", "Where the next item is new to the user, the hybrid ranker", "never seen"),
        (
            "not_the_last",
            "Where it is not the user's last one, the ranker",
            "not the last item",
        ),
    ):
        rows, without, beside = [], [], []
        for one in repeating:
            other, second = _best(one, kind), _second(one)
            share = one.new_share if kind == "never_seen" else 1 - one.last_share
            ahead, second_ahead = (_of(other, f"{which}_{kind}") for which in ("ahead", "second_ahead"))
            rows.append(
                [
                    label(one), f"{share:.0%}", f"{_value(_of(other, kind)):.3f} {_name(other)}",
                    _interval(_of(one.row(Hybrid.name), kind)), difference(ahead),
                    *((_interval(_of(second, kind)), difference(second_ahead)) if measured else ()),
                ]
            )  # fmt: skip
            without.append((label(one), ahead))
            beside.append((label(one), second_ahead))
        answers += [
            verdict(subject, "the best other", without),
            verdict("With a sequence model it", "the best other", beside),
        ]
        head = ["data", part, "best other", "hybrid", "hybrid − best other"]
        head += ["with sequence model", "with it − best other"] if measured else []
        tables.append(table(head, rows))
    name = "ranker-never-seen.svg"
    series = {
        "hybrid, fitted": [_of(one.row(Hybrid.name), "never_seen") or _NOTHING for one in repeating],
        "best other": [_of(_best(one, "never_seen"), "never_seen") or _NOTHING for one in repeating],
    }
    charts.intervals([label(one) for one in repeating], series, "NDCG@10 of never seen", folder / name)
    rest = [label(one) for one in entries if not one.repeats]
    note = f"\n\nIn {listed(rest)} users repeat nothing: every next item is new, see the first table." if rest else ""
    return Question(
        "And where the next item is new to the user, or not their last one?",
        " ".join(answer for answer in answers if answer),
        "\n\n".join(tables) + note,
        name,
    )


def _best(one: Comparison, kind: str) -> Compared:
    """The model with the best figure in the field `kind` that is none of what is served."""
    return max((row for row in one.rows if row.name not in _SERVED), key=lambda row: _value(_of(row, kind)))


def _of(row: Compared | None, kind: str) -> Figure | None:
    """A figure of a model by the name of its field, None without."""
    found: Figure | None = None if row is None else getattr(row, kind)
    return found


def _interval(figure: Figure | None) -> str:
    return "" if figure is None else interval(figure)


def overview(entries: Sequence[Comparison]) -> str:
    """A table of marks: the fitted hybrid against the best other, without and with a sequence model."""
    rows = []
    for one in entries:
        cells = []
        for kind in ("ndcg_10", "never_seen", "not_the_last") if one.repeats else ("ndcg_10",):
            other = _best(one, kind)
            ending = "" if kind == "ndcg_10" else f"_{kind}"
            cells.append(" ".join(mark(_of(other, f"{which}{ending}")) for which in ("ahead", "second_ahead")))
        rows.append([label(one), *cells, *[""] * (3 - len(cells))])
    head = ["hybrid against the best other", "all targets", "never seen", "not the last item"]
    return f"{table(head, rows)}\n\nFirst mark: without a sequence model; second: with one. {MARKS}."


def few_events(entries: Sequence[Comparison], folder: Path) -> Question:
    """NDCG@10 with none and with five of the user's events, ours and the best other model's, and what share of that
    from the whole history is left."""
    rows = []
    for one in entries:
        row = [label(one)]
        for k in ("0", "5"):
            best = _best_of_few(one, k)
            row += [_few(one.row(name), k) for name in (Hybrid.name, Prior.name)]
            row += [f"{_few(best, k)} {_name(best)}", difference(best.ahead_few.get(k))] if best else ["", ""]
        hybrid, best = one.row(Hybrid.name), one.best_other(_SERVED)
        kept = [_share(hybrid.kept.get(k)) for k in ("0", "5")]
        rows.append([*row, *kept, f"{_share(best.kept.get('5'))} {_name(best)}"])
    name = "ranker-few-events.svg"
    series = {
        f"{whose}, {k} events": [
            Figure(*[0.0 if row is None else row.few.get(k, 0.0)] * 3)
            for row in ((one.row(Hybrid.name) if whose == "fitted" else _best_of_few(one, k)) for one in entries)
        ]
        for k in ("0", "5")
        for whose in ("fitted", "best other")
    }
    charts.intervals([label(one) for one in entries], series, "NDCG@10 from few events", folder / name)
    answer = " ".join(text for k in ("0", "5") for text in _few_verdicts(entries, k) if text)
    answer += f" {_kept_of_five(entries)}"
    head = [
        "data", *(f"{k} events: {what}" for k in ("0", "5")
                  for what in ("hybrid", "not fitted", "best other", "hybrid − best other")),
        "R(0), hybrid", "R(5), hybrid", "R(5), best other on whole histories",
    ]  # fmt: skip
    note = (
        "\n\nEach history is cut to its last 0 or 5 events. R(k) is NDCG@10 from the last k events as a share of that "
        "from whole histories, on the same targets. A better ranking from whole histories lowers it, so compare "
        "NDCG@10, too. An empty difference was not measured."
    )
    return Question("How well does it rank for users with few events?", answer.strip(), table(head, rows) + note, name)


_IN_WORDS = {"0": "Without any event of the user the hybrid ranker", "5": "With five events it"}


def _few_verdicts(entries: Sequence[Comparison], k: str) -> list[str]:
    """The fitted hybrid against the best other from so many events, and where it is worse than the one not fitted."""
    others = [(label(one), best.ahead_few.get(k) if (best := _best_of_few(one, k)) else None) for one in entries]
    worse = [label(one) for one in entries if (found := one.row(Prior.name).ahead_few.get(k)) and found.high < 0]
    below = f"It is **significantly worse** than before it was fitted on {listed(worse)}." if worse else ""
    return [verdict(_IN_WORDS[k], "the best other", others), below]


def _kept_of_five(entries: Sequence[Comparison]) -> str:
    """Whether R(5) is what was asked, and where it is not, how much the best model has."""
    short = [one for one in entries if one.row(Hybrid.name).kept.get("5", 0.0) < _FEW_EVENTS]
    asked = f"{_FEW_EVENTS:.0%} of its NDCG@10 from whole histories"
    if not short:
        return f"Five events are enough for {asked} everywhere."
    answer = f"Five events are enough for {asked}, but not on {listed([label(one) for one in short])}: **not reached**."
    beyond = [(one, best) for one in short if (best := _most_of_whole(one)) and best[0] < _FEW_EVENTS]
    if beyond:
        most = [f"{share:.0%} on {label(one)} ({_name(row)})" for one, (share, row) in beyond]
        answer += f" No compared model reaches that there; the most is {listed(most)}."
    return answer


def _most_of_whole(one: Comparison) -> tuple[float, Compared] | None:
    """The model that ranks best from five events, and that as a share of the fitted hybrid's from whole histories."""
    hybrid = one.row(Hybrid.name)
    if not hybrid.kept.get("5") or not hybrid.few.get("5"):
        return None
    best = max(one.rows, key=lambda row: row.few.get("5", 0.0))
    return best.few["5"] * hybrid.kept["5"] / hybrid.few["5"], best


def _best_of_few(one: Comparison, k: str) -> Compared | None:
    """The model that ranks best from k events, the hybrid ranker aside."""
    others = [row for row in one.rows if row.name not in _SERVED and k in row.few]
    return max(others, key=lambda row: row.few[k], default=None)


def _few(row: Compared, k: str) -> str:
    return f"{row.few[k]:.3f}" if k in row.few else ""


def _name(model: Compared) -> str:
    return _SHORT.get(model.name, model.name)


def _minus(one: Comparison, ours: str, theirs: str) -> float:
    return one.row(ours).ndcg_10.value - one.row(theirs).ndcg_10.value


def _value(figure: Figure | None) -> float:
    return float("-inf") if figure is None else figure.value


def _share(kept: float | None) -> str:
    return "" if kept is None else f"{kept:.2f}"
