"""The page of the study, generated from the comparisons that are kept."""

from collections.abc import Sequence
from pathlib import Path

from training.data import public
from training.evaluation.baselines import EVERYTHING, Logistic
from training.evaluation.markdown import table
from training.experiments.study.baselines import RANKERS
from training.experiments.study.data import KINDS, NO_ORDER, ORDER, OWN_LAWS, REAL_SETS, TOGETHER
from training.experiments.study.effort import EFFORTS
from training.experiments.study.jobs import COMMITTED, ORACLE
from training.experiments.study.records import KEPT, PAGE, Comparison, read_kept
from training.experiments.study.summary import SETS, WORLDS
from training.experiments.study.variants import FULL, INPUTS, PLAIN, WITHOUT
from training.experiments.study.verdicts import verdicts
from training.published.model import PUBLISHED, SASREC, WITH_TEXT
from training.ranker.recommender import Hybrid, Prior

FOLDER = Path("training")
_SHORT = {EVERYTHING: "blend of everything", Hybrid.name: "hybrid ranker, fitted", Prior.name: "hybrid, untrained"}
# Shown of ablations: the metrics of the rule. The others are in study.jsonl
_RULE = {"ndcg10": "NDCG@10", "log_loss": "Log-loss of the next action"}
_WORLD = {"accuracy": "Accuracy of the next action", "ndcg10": "NDCG@10"}

_OPENING = """\
Written by `python -m training study --summarise` from `training/{kept}`. What follows for each part comes first, then
the tables that it follows from.

- A model is trained on the first 70 % of a log, its epoch is chosen on the next tenth, and it is tested on the newest
  fifth. A ranking is of the whole catalogue.
- Brackets are 95 % intervals: over users and seeds on public logs, over worlds and users on simulated ones. With few
  seeds or worlds they are rough.
- How simulated users behave is assumed, not observed.
- All models of one table have had the same effort:
{efforts}
"""
_LEFT_OUT = """\
First row: the full model. Others: what changes when a part is left out, and when all are (*plain*: a standard
transformer over texts and ids). Lower NDCG@10 or higher log-loss without a part defends it; **bold**: the interval
excludes zero. Empty: the recipe does not use the part, or it was not run."""
_OF_PUBLISHED = """\
Rankings of the next engaged item. The published models (`training/published/`) have {blocks} blocks of width {width},
histories of {length} and one recipe for all logs, with the number of epochs chosen on validation. They know items by
ids: *of items met* leaves out targets that nobody met in training, which they cannot rank. Those with texts can.
*− full*: against the full model on the same events; **bold**: the interval excludes zero.
"""


def write_page(folder: Path = FOLDER) -> None:
    """Write the page beside the kept comparisons."""
    (folder / PAGE).write_text(page(read_kept(folder)), encoding="utf-8")


def page(records: Sequence[Comparison]) -> str:
    """Markdown: what follows for each part, then ablations, published models and worlds."""
    text, missing = [], []
    for name, write in (("ablations", _ablations), ("published", _published), ("worlds", _worlds)):
        found = [write([one for one in records if one.effort == effort], effort) for effort in EFFORTS]
        text += [_WORLDS if write is _worlds and any(found) else "", *found]
        missing += [] if any(found) else [name]
    efforts = [(name, effort) for name, effort in EFFORTS.items() if any(one.effort == name for one in records)]
    parts = [
        "# Study: parts of the model, published models, simulated worlds\n",
        _OPENING.format(
            kept=KEPT, efforts="\n".join(f"  - *{name}*: {one} ({_machines(records, name)})" for name, one in efforts)
        ),
        f"Without results so far: {', '.join(missing)}. `python -m training study {' '.join(missing)}` makes them, and "
        "nothing is concluded about them here.\n"
        if missing
        else "",
        "[PARITY.md](published/PARITY.md) compares the published models with RecTools' implementation of them.\n",
        verdicts(records),
        *text,
    ]
    return "\n".join(part for part in parts if part)


def _machines(records: Sequence[Comparison], effort: str) -> str:
    return " and ".join(sorted({one.machine for one in records if one.effort == effort}))


def _ablations(records: Sequence[Comparison], effort: str) -> str:
    columns = [
        *((SETS, name, "", public.TITLES[name]) for name in REAL_SETS),
        *((WORLDS, kind, "", f"worlds, {kind}") for kind in KINDS),
        *((WORLDS, kind, COMMITTED, f"worlds, {kind}, fine-tuned from the committed reference") for kind in KINDS),
        (WORLDS, ORDER, TOGETHER, "worlds, order, one model of several worlds"),
        (WORLDS, ORDER, OWN_LAWS, "worlds, pre-trained on worlds of own laws"),
        (WORLDS, OWN_LAWS, OWN_LAWS, "worlds of own laws, pre-trained likewise"),
    ]  # fmt: skip
    others = [one.model for one in records if one.model.startswith("without ") and " + " in one.model]
    variants = (*WITHOUT, PLAIN, *INPUTS, *dict.fromkeys(others))
    return _differences(f"What each part is worth, {effort} effort", _LEFT_OUT, records, variants, columns)


def _differences(
    title: str,
    text: str,
    records: Sequence[Comparison],
    variants: Sequence[str],
    columns: Sequence["Column"],
) -> str:
    """A table a metric: the full model's figures, and the differences of the variants to it."""
    lines = [f"## {title}\n", f"{text}\n"]
    for metric, name in _RULE.items():
        shown = [column for column in columns if any(_difference(_find(records, metric, m, column)) for m in variants)]
        if not shown:
            continue
        cells = [[FULL, *(_value(_find(records, metric, FULL, column)) for column in shown)]]
        for model in variants:
            found = [_difference(_find(records, metric, model, column)) for column in shown]
            cells += [[model, *found]] if any(found) else []
        head = ["model", *(column[-1] for column in shown)]
        lines += [f"{name}\n", table(head, cells), ""]
    return "\n".join(lines) if len(lines) > 2 else ""


def _published(records: Sequence[Comparison], effort: str) -> str:
    published = [one.name for one in (*PUBLISHED, WITH_TEXT)]
    columns = [(SETS, name, "", public.TITLES[name]) for name in REAL_SETS] + [(WORLDS, ORDER, "", f"worlds, {ORDER}")]
    cells = []
    for column in columns:
        if not any(_find(records, "ndcg10", model, column) for model in published):
            continue
        for model in (*published, PLAIN, FULL):
            found = [_find(records, metric, model, column) for metric in ("ndcg10", "ndcg10_met", "hr10")]
            if found[0]:
                seeds = str(found[0].seeds)
                cells.append([column[-1], model, seeds, *(f(one) for one in found for f in (_value, _difference))])
    if not cells:
        return ""
    length = EFFORTS[effort].published.get("length", SASREC.length)
    head = [title for metric in ("NDCG@10", "of items met", "HR@10") for title in (metric, "− full")]
    return "\n".join(
        [
            f"## Published sequence models, {effort} effort\n",
            _OF_PUBLISHED.format(blocks=SASREC.blocks, width=SASREC.width, length=length),
            table(["data", "model", "seeds", *head], cells),
            "",
        ]
    )


def _worlds(records: Sequence[Comparison], effort: str) -> str:
    starts = [
        ("random weights, full", FULL, ""),
        ("random weights, plain", PLAIN, ""),
        ("committed reference, fine-tuned", FULL, COMMITTED),
        ("full, pre-trained on worlds of one law", FULL, f"{FULL}, {ORDER}"),
        ("full, pre-trained on worlds of own laws", FULL, f"{FULL}, {OWN_LAWS}"),
        ("plain, pre-trained on worlds of one law", PLAIN, f"{PLAIN}, {ORDER}"),
        ("plain, pre-trained on worlds of own laws", PLAIN, f"{PLAIN}, {OWN_LAWS}"),
        ("full, pre-trained on worlds without order", FULL, f"{FULL}, {NO_ORDER}"),
        ("full, of several of these worlds' pasts", FULL, f"{FULL}, {TOGETHER}"),
    ]
    baselines = [(_SHORT.get(name, name), name, "") for name in (Logistic.name, *RANKERS)]
    rows = [*baselines, *starts, ("Bayes-optimal", ORACLE, "")]
    lines = []
    for metric, title in _WORLD.items():
        cells = []
        for name, model, start in rows:
            found = [_of(records, WORLDS, kind, model, start, metric) for kind in KINDS]
            if any(found):
                cells.append(
                    [name, *(_value(one) + _way(records, one, kind) for one, kind in zip(found, KINDS, strict=True))]
                )
        if cells:
            lines += [f"{title}, {effort} effort\n", table(["model", *KINDS], cells), ""]
    return "\n".join(lines)


_WORLDS = """\
## Held-out simulated worlds

Worlds that no training has seen. *order*: the laws of the reference's training worlds. *own laws*: phase needs and
complements are permuted, so that laws have to be inferred from the world's own log. *weakest traits*: the two traits
that suit a user least decide, a form of utility that the model does not assume. *freshness*: an item's appeal halves
every 12 hours. *no order*: order strength 0. Pre-trained models have seen other worlds and are fine-tuned on the
world's own past; the others have that past alone, as the baselines do. In brackets with %: the way from logistic
regression to the Bayes-optimal filter, which knows every hidden trait and cannot be reached.
"""


def _way(records: Sequence[Comparison], one: Comparison | None, kind: str) -> str:
    if one is None or one.metric != "accuracy" or one.model in (ORACLE, Logistic.name):
        return ""
    low, high = (_of(records, WORLDS, kind, model, "", "accuracy") for model in (Logistic.name, ORACLE))
    return f" ({(one.value - low.value) / (high.value - low.value):.0%})" if low and high else ""


Column = tuple[str, str, str, str]  # section, data, pre-training ("" for random weights), title


def _find(records: Sequence[Comparison], metric: str, model: str, column: Column) -> Comparison | None:
    section, data, start, _ = column
    start = f"{model}, {start}" if start in (OWN_LAWS, TOGETHER) else start
    return _of(records, section, data, model, start, metric)


def _of(
    records: Sequence[Comparison], section: str, data: str, model: str, start: str, metric: str
) -> Comparison | None:
    wanted = (section, data, model, start, metric)
    return next((r for r in records if (r.section, r.data, r.model, r.start, r.metric) == wanted), None)


def _value(one: Comparison | None) -> str:
    if one is None:
        return ""
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]{_alone(one)}"


def _alone(one: Comparison) -> str:
    """What an interval cannot show."""
    if one.section == WORLDS:
        return ", one world" if one.worlds == 1 else ""
    return ", one seed" if one.seeds == 1 else ""


def _difference(one: Comparison | None) -> str:
    if one is None or one.difference is None or one.difference_low is None or one.difference_high is None:
        return ""
    text = f"{one.difference:+.3f} [{one.difference_low:+.3f}, {one.difference_high:+.3f}]"
    return (f"**{text}**" if one.difference_low > 0 or one.difference_high < 0 else text) + _alone(one)
