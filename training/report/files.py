"""Writes REPORT.md, MODEL_CARD.md, DETAILS.md and their charts from the results that are kept beside each other."""

from pathlib import Path

from training.evaluation import results as sequence_results
from training.experiments.study.records import read_kept
from training.ranker import action_comparison, comparison_results
from training.report.details import write_details
from training.report.model_card import model_card
from training.report.page import page

RANKER, ACTIONS, SEQUENCE = "ranker_results.json", "action_results.json", "results.json"
DETAILS, STUDY, ACTIONS_PAGE = "DETAILS.md", "STUDY.md", "action_results.md"


def write_report(results: Path, report: Path, checkpoint: Path) -> None:
    """results: of the sequence model; those of the ranker and of the next action are looked for beside it. Charts, the
    model card and the details are written beside `report`. checkpoint: whose training curve the details show."""
    records = results.parent
    found = sequence_results.read(results) if results.exists() else sequence_results.Results()
    comparisons = comparison_results.read(records / RANKER)
    actions = action_comparison.read(records / ACTIONS)
    report.parent.mkdir(parents=True, exist_ok=True)
    write_details(found, report.with_name(DETAILS), records, checkpoint)
    links = [
        f"[{DETAILS}]({DETAILS}): the sequence model on every set, with slices, cold starts, calibration "
        "and tuned recipes; of rankings the tables above are newer and have more baselines",
        "[MODEL_CARD.md](MODEL_CARD.md): what the sequence model is for, and not",
        "`ranker_results.json`, `action_results.json`, `results.json`: every model, its hyperparameters and figures",
        "[decision 017](../docs/decisions/017-hybrid-ranker.md): what is in the hybrid ranker, and what ablations "
        "left out",
        "[bench/REPORT.md](../bench/REPORT.md): latency, memory and the time to train",
    ]
    if (records / ACTIONS_PAGE).exists():
        links.insert(1, f"[{ACTIONS_PAGE}]({ACTIONS_PAGE}): the next action on every set")
    if (records / STUDY).exists():
        links.insert(1, f"[{STUDY}]({STUDY}): parts of the sequence model switched off, published models, worlds")
    text = page(comparisons, actions, found, read_kept(records), links, report.parent / "charts")
    report.write_text(text, encoding="utf-8")
    report.with_name("MODEL_CARD.md").write_text(model_card(found, actions), encoding="utf-8")
