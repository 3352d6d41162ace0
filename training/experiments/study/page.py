"""The page of the study, generated from the comparisons that are kept."""

from collections.abc import Sequence
from pathlib import Path

from training.evaluation.baselines import EASE, FreshPopularity, Logistic, WeightedAverage
from training.evaluation.markdown import table
from training.experiments.study.data import KINDS, NO_ORDER, ORDER, OWN_LAWS, REAL_SETS
from training.experiments.study.jobs import COMMITTED, FULL, ORACLE, PLAIN
from training.experiments.study.records import KEPT, PAGE, Comparison, read_kept
from training.experiments.study.summary import SETS, WORLDS
from training.published.model import PUBLISHED, WITH_TEXT
from training.recipes import PARTS

FOLDER = Path("training")
_NAMES = {"ndcg10": "NDCG@10", "accuracy": "accuracy of the next action", "log_loss": "log-loss of the next action"}
_VARIANTS = (*(f"without {part}" for part in PARTS), PLAIN)


def write_page(folder: Path = FOLDER) -> None:
    """Write the page beside the kept comparisons."""
    (folder / PAGE).write_text(page(read_kept(folder)), encoding="utf-8")


def page(records: Sequence[Comparison]) -> str:
    """Markdown: ablations, published models, worlds."""
    machines = sorted({one.machine for one in records})
    tables = {"ablations": _ablations(records), "published": _published(records), "worlds": _worlds(records)}
    missing = [name for name, text in tables.items() if not text]
    parts = [
        "# Study: parts of the model, published models, simulated worlds\n",
        f"Generated from `training/{KEPT}` by `python -m training study --summarise`. Trained on "
        f"{' and '.join(machines)}. Each model is trained on the first 80 % of a log, its epoch selected on the last "
        "eighth of that, and tested on the newest fifth. Ranking is over the whole catalogue. Brackets are 95 % "
        "intervals that resample users and seeds on real sets, and worlds and users on simulated ones; with three "
        "worlds they are rough. Simulated behaviour is assumed, not observed.\n",
        f"Without results so far: {', '.join(missing)}. `python -m training study {' '.join(missing)}` makes them, and "
        "nothing is concluded about them here. [PARITY.md](published/PARITY.md) compares the published models with "
        "RecTools' implementation of them.\n"
        if missing
        else "",
        *tables.values(),
    ]
    return "\n".join(part for part in parts if part)


def _ablations(records: Sequence[Comparison]) -> str:
    lines = [
        "## What each part is worth\n",
        "Difference to the full model when a part is left out, and when all are (`plain`: a standard transformer over "
        "texts and ids). **Bold**: the interval excludes zero. A negative NDCG@10 or accuracy, or a positive log-loss, "
        "defends the part.\n",
    ]
    columns = [
        *((SETS, name, False, name) for name in REAL_SETS),
        (WORLDS, ORDER, False, "worlds, random weights"),
        (WORLDS, ORDER, True, "worlds, pre-trained on worlds of own laws"),
        (WORLDS, OWN_LAWS, True, "worlds of own laws, pre-trained likewise"),
    ]  # fmt: skip
    for metric, name in _NAMES.items():
        shown = [column for column in columns if any(_difference(_find(records, metric, m, column)) for m in _VARIANTS)]
        if not shown:
            continue
        cells = [[FULL, *(_value(_find(records, metric, FULL, column)) for column in shown)]]
        for model in _VARIANTS:
            found = [_difference(_find(records, metric, model, column)) for column in shown]
            cells += [[model, *found]] if any(found) else []
        head = ["model", *(column[-1] for column in shown)]
        lines += [f"{name[0].upper()}{name[1:]}\n", table(head, cells), ""]
    return "\n".join(lines) if len(lines) > 2 else ""


def _published(records: Sequence[Comparison]) -> str:
    models = [*(one.name for one in (*PUBLISHED, WITH_TEXT)), PLAIN, FULL]
    columns = [(SETS, name, False, name) for name in REAL_SETS] + [(WORLDS, ORDER, False, "worlds")]
    columns = [column for column in columns if any(_find(records, "ndcg10", m, column) for m in models[:-2])]
    if not columns:
        return ""
    cells = [[model, *(_value(_find(records, "ndcg10", model, column)) for column in columns)] for model in models]
    return "\n".join(
        [
            "## Published sequence models\n",
            "NDCG@10 of the next engaged item. Two blocks of width 64, histories of 100, and one recipe for all sets "
            "with the number of epochs selected on validation; `training/published/` has them, and "
            "`training/published/PARITY.md` the comparison with another library's implementation. Without texts they "
            "cannot rank an item that nobody met in training.\n",
            table(["model", *(column[-1] for column in columns)], cells),
            "",
        ]
    )


def _worlds(records: Sequence[Comparison]) -> str:
    starts = [
        ("random weights, full", FULL, ""),
        ("random weights, plain", PLAIN, ""),
        ("committed reference, fine-tuned", FULL, COMMITTED),
        ("full, pre-trained on worlds of one law", FULL, f"{FULL}, {ORDER}"),
        ("full, pre-trained on worlds of own laws", FULL, f"{FULL}, {OWN_LAWS}"),
        ("plain, pre-trained on worlds of one law", PLAIN, f"{PLAIN}, {ORDER}"),
        ("plain, pre-trained on worlds of own laws", PLAIN, f"{PLAIN}, {OWN_LAWS}"),
        ("full, pre-trained on worlds without order", FULL, f"{FULL}, {NO_ORDER}"),
    ]
    baselines = [(one.name, one.name, "") for one in (Logistic, EASE, FreshPopularity, WeightedAverage)]
    rows = [*baselines, *starts, ("Bayes-optimal", ORACLE, "")]
    lines = ["## Held-out simulated worlds\n", _WORLDS, ""]
    for metric in ("accuracy", "ndcg10"):
        cells = []
        for name, model, start in rows:
            found = [_of(records, WORLDS, kind, model, start, metric) for kind in KINDS]
            if any(found):
                cells.append(
                    [name, *(_value(one) + _way(records, one, kind) for one, kind in zip(found, KINDS, strict=True))]
                )
        if cells:
            lines += [f"{_NAMES[metric][0].upper()}{_NAMES[metric][1:]}\n", table(["model", *KINDS], cells), ""]
    return "\n".join(lines) if len(lines) > 3 else ""


_WORLDS = """\
Worlds that no training has seen. *order*: the laws of the reference's training worlds. *own laws*: phase needs and
complements are permuted, so that laws have to be inferred from the world's own log. *weakest traits*: the two traits
that suit a user least decide, a form of utility that the model does not assume. *freshness*: an item's appeal halves
every 12 hours. *no order*: order strength 0. Pre-trained models have seen other worlds and are fine-tuned on the
world's own past; the others have that past alone, as the baselines do. In brackets with %: the way from logistic
regression to the Bayes-optimal filter, which knows every hidden trait and cannot be reached."""


def _way(records: Sequence[Comparison], one: Comparison | None, kind: str) -> str:
    if one is None or one.metric != "accuracy" or one.model in (ORACLE, Logistic.name):
        return ""
    low, high = (_of(records, WORLDS, kind, model, "", "accuracy") for model in (Logistic.name, ORACLE))
    return f" ({(one.value - low.value) / (high.value - low.value):.0%})" if low and high else ""


Column = tuple[str, str, bool, str]  # section, data, pre-trained on worlds of own laws, title


def _find(records: Sequence[Comparison], metric: str, model: str, column: Column) -> Comparison | None:
    section, data, pretrained, _ = column
    return _of(records, section, data, model, f"{model}, {OWN_LAWS}" if pretrained else "", metric)


def _of(
    records: Sequence[Comparison], section: str, data: str, model: str, start: str, metric: str
) -> Comparison | None:
    wanted = (section, data, model, start, metric)
    return next((r for r in records if (r.section, r.data, r.model, r.start, r.metric) == wanted), None)


def _value(one: Comparison | None) -> str:
    if one is None:
        return ""
    alone = ", one world" if one.worlds == 1 else ""
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]{alone}"


def _difference(one: Comparison | None) -> str:
    if one is None or one.difference is None or one.difference_low is None or one.difference_high is None:
        return ""
    text = f"{one.difference:+.3f} [{one.difference_low:+.3f}, {one.difference_high:+.3f}]"
    return f"**{text}**" if one.difference_low > 0 or one.difference_high < 0 else text
