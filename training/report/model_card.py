"""The model card's text, one page, from the results alone."""

from textwrap import fill

from training.evaluation.markdown import table
from training.evaluation.results import Results, SetResult
from training.evaluation.targets import interval, set_name, sign, signed
from training.ranker import action_comparison
from training.recipes import NOT_FOR_LOGS, PARTS

_HEAD = """\
---
license: apache-2.0
library_name: onnxruntime
tags: [sequential-recommendation, transformer, personalisation]
---
# vows-edge sequence model

A causal transformer over a user's views, saves, shares and skips. It returns a 128-d user vector, and the probabilities
of the next action on a given item.

**Use** it to rank content for users with some history and to predict actions, after training on the log of the product
that it serves: the included checkpoint knows simulated users only. **Do not** use it to judge people, and do not use
its probabilities for another product without training again: base rates are those of its training data.

**Content** is known by its text vector (all-MiniLM-L6-v2), so new items need no training. What the text does not tell
about an item is unknown until users meet it.

**Beside it** the server has a hybrid ranker, which ranks by default and is better on most logs: see
[REPORT.md](REPORT.md), which also has the protocol. The figures here are of the model alone.
"""
_MODELS = ("sequence", "sequence (fine-tuned from other worlds)")


def model_card(results: Results, actions: action_comparison.Results) -> str:
    """Markdown: use and limits, and a row for each data set. actions: preferred for the next action where they are."""
    known = [one for one in results.sets if any(m.model not in one.baselines for m in one.margins)]
    of_model = (
        f"**Parts** beyond a standard transformer over texts and ids: {', '.join(PARTS)}. The recipe for a log of your "
        f"own leaves out {', '.join(NOT_FOR_LOGS)}, which no real log defends: see [STUDY.md](STUDY.md). The included "
        "checkpoint and the figures below have the parts of their own recipes."
    )
    parts = [_HEAD, fill(of_model, 120, break_long_words=False), "", "## Evaluation", ""]
    if known:
        head = ["data", "NDCG@10", "− best baseline", "accuracy of the next action", "− best baseline"]
        parts += [table(head, [_row(one) for one in known]), ""]
    else:
        parts += ["Not evaluated yet: see REPORT.md for the baselines.", ""]
    if actions.sets:
        parts += ["Next action as it is served, stacked with a regression: see REPORT.md.", ""]
    parts += [
        "The best baseline is chosen on the test events, which favours it; **bold**: the whole interval is on one side "
        "of zero.",
        "",
        "## Limits",
        "",
        "- simulated users are assumptions: they show whether the model learns order, and nothing about real people",
        "- real sets are logs of other products under another system, most without what was shown and not chosen",
        "- [DETAILS.md](DETAILS.md) has the licence, mapping and limits of each set, and every figure",
    ]
    return "\n".join(parts).rstrip() + "\n"


def _row(one: SetResult) -> list[str]:
    rankings = [r for r in one.rankings if r.model not in one.baselines]
    ranking = next((r for r in rankings if r.model in _MODELS), rankings[0] if rankings else None)
    model = ranking.model if ranking else next(a.model for a in one.actions if a.model not in one.baselines)
    acting = next((a for a in one.actions if a.model == model), None)
    if one.one_class:
        accuracy = ["every event has the same action", ""]
    else:
        accuracy = [interval(acting.accuracy) if acting else "", _margin(one, model, "accuracy")]
    ndcg = interval(ranking.slices["all"]["NDCG@10"]) if ranking else ""
    return [set_name(one), ndcg, _margin(one, model, "NDCG@10"), *accuracy]


def _margin(one: SetResult, model: str, metric: str) -> str:
    """To the baseline that is best, which is the first of the margins."""
    found = [m for m in one.printed_margins() if m.model == model and m.metric == metric]
    if not found:
        return ""
    text = f"{signed(found[0].difference)} {found[0].baseline}"
    return f"**{text}**" if sign(found[0].difference) else text
