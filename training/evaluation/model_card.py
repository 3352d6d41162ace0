"""The model card's text, from the results alone."""

from training.evaluation.results import Results, SetResult
from training.evaluation.targets import interval, set_name

_HEAD = """\
---
license: apache-2.0
library_name: onnxruntime
tags: [sequential-recommendation, transformer, personalisation]
---
# vows-edge sequence model

A causal transformer over a user's views, saves, shares and skips. It returns a 128-d user vector, and the probabilities
of the next action on a given item.

**Use** it to rank content for users with some history and to predict actions. **Do not** use it to judge people, and do
not use its probabilities for another product without training again: base rates are those of its training data.

**Content** is known by its text vector (all-MiniLM-L6-v2), so new items need no training. What the text does not tell
about an item is unknown until users meet it.
"""


def model_card(results: Results) -> str:
    """Markdown: use and limits, then for each data set the figures of the models that are not baselines."""
    parts = [_HEAD, "## Evaluation", ""]
    known = [one for one in results.sets if any(m.model not in one.baselines for m in one.margins)]
    parts += ["\n".join(_lines(one)) for one in known] or ["Not evaluated yet: see REPORT.md for the baselines.", ""]
    parts += ["## Limits", ""]
    limits = dict.fromkeys(f"- {one.name}: {limit}" for one in results.sets for limit in one.limits)
    return "\n".join([*parts, *limits]).rstrip() + "\n"


def _lines(one: SetResult) -> list[str]:
    lines = [f"### {set_name(one)}", "", f"{one.protocol}; seeds {', '.join(str(seed) for seed in one.seeds)}.", ""]
    for ranking in (r for r in one.rankings if r.model not in one.baselines):
        figures = ranking.slices["all"]
        lines += [
            f"- {ranking.model}: NDCG@10 {interval(figures['NDCG@10'])}, HR@10 {interval(figures['HR@10'])}; "
            f"with shuffled histories NDCG@10 {ranking.shuffled_ndcg10.value:.3f}"
        ]
    if one.one_class:
        lines.append("- next action: not reported, every event of this data set has the same action")
    for acting in (a for a in one.actions if a.model not in one.baselines and not one.one_class):
        lines += [
            f"- {acting.model}: next-action accuracy {interval(acting.accuracy)}, macro-F1 {acting.macro_f1:.3f}, "
            f"log-loss {acting.log_loss.value:.3f}, calibration error {acting.calibration_error:.3f}"
        ]
    if one.oracle:
        lines.append(f"- oracle (Bayes-optimal filter) accuracy: {one.oracle.accuracy.value:.3f}")
    for margin in one.printed_margins():
        if margin.model not in one.baselines:
            lines.append(f"- {margin.model} − {margin.baseline}, {margin.metric}: {interval(margin.difference)}")
    return [*lines, ""]
