from pathlib import Path

from training.evaluation.results import Results


def write_report(r: Results, path: Path) -> None:
    pass
