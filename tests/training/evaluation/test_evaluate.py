"""`evaluate` from data to report, on small worlds and files."""

from pathlib import Path

import numpy as np
import pytest

from training.__main__ import main
from training.data.events import Dataset, Histories
from training.evaluation import results
from training.evaluation.baselines import Logistic, Markov
from training.evaluation.probe import linear_probe

QUICK = ["--rankings", "300", "--actions", "600", "--world-users", "150", "--world-items", "60", "--oracle-users", "8"]


class Known:
    """The rankings of Markov and the actions of logistic regression under another name, and a random user vector."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.ranking, self.acting = Markov(), Logistic()

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.ranking.fit(train, validation)
        self.acting.fit(train, validation)

    def item_scores(self, histories, now_us, device):  # type: ignore[no-untyped-def]
        return self.ranking.item_scores(histories, now_us, device)

    def action_probabilities(self, histories, now_us, device, items):  # type: ignore[no-untyped-def]
        return self.acting.action_probabilities(histories, now_us, device, items)

    def user_vectors(self, histories: Histories, now_us: object, device: object) -> np.ndarray:
        return self.rng.normal(size=(len(histories), 6)).astype(np.float32)


def known(argument: str, seed: int) -> Known:
    return Known(argument, seed)


class Broken(Known):
    def fit(self, train: Dataset, validation: Dataset) -> None:
        raise RuntimeError("out of ideas")


def broken(argument: str, seed: int) -> Broken:
    return Broken(argument, seed)


@pytest.fixture(scope="module")
def shared_results(tmp_path_factory: pytest.TempPathFactory, bundle_path: Path) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    common = ["--results", str(folder / "results.json"), "--report", str(folder / "REPORT.md"), *QUICK]
    recommender = ["--recommender", "tests.training.evaluation.test_evaluate:known=ours at {order_strength}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOWS_CACHE_DIR", str(folder / "cache"))
        assert main(["simulate", "--users", "60", "--items", "60", "--oracle-users", "2", "--out", str(folder)]) == 0
        own = [
            "--events",
            str(folder / "events.parquet"),
            "--items",
            str(folder / "items.parquet"),
            "--seeds",
            "0",
            "1",
        ]
        breaks = ["--recommender", "tests.training.evaluation.test_evaluate:broken=theirs"]
        assert main(["evaluate", *own, *breaks, *recommender, *common, "--no-baselines"]) == 0
        assert main(["evaluate", "simulated", "--order-strengths", "1", "--worlds", "1001", *recommender, *common]) == 0
    return folder


def test_results_have_a_row_per_data_set(shared_results: Path) -> None:
    found = {one.key: one for one in results.read(shared_results / "results.json").sets}
    assert set(found) == {"events, time", "simulated, order strength 1"}
    simulated = found["simulated, order strength 1"]
    assert {"all", "repeats", "never seen"} <= set(simulated.rankings[0].slices)
    assert set(simulated.rankings[0].cold_start_ndcg10) == {"0", "1", "3", "5", "10", "all"}
    by_name = {one.model: one for one in simulated.rankings}
    # The same model under two names gives the same figures
    assert by_name["ours at 1"].slices == by_name[Markov.name].slices
    assert by_name["ours at 1"].shuffled_ndcg10.value < by_name["ours at 1"].slices["all"]["NDCG@10"].value
    assert by_name["popularity"].shuffled_ndcg10 == by_name["popularity"].slices["all"]["NDCG@10"]
    oracle = simulated.oracle
    assert oracle is not None
    assert oracle.accuracy.value > max(oracle.model_accuracy.values())
    assert oracle.gap_closed["ours at 1"] == pytest.approx(0, abs=1e-6)
    assert set(simulated.probe_cosine) == {"ours at 1", "weighted average (simple model)"}
    assert simulated.text_share is not None
    own = found["events, time"]
    assert own.seeds == [0, 1]
    assert [one.model for one in own.rankings] == ["ours at real"]
    assert len(own.rankings[0].seeds_ndcg10) == 2


def test_a_model_that_fails_is_reported_with_its_error(shared_results: Path) -> None:
    found = {one.key: one for one in results.read(shared_results / "results.json").sets}
    assert found["events, time"].failed == {"theirs": "seed 1: RuntimeError: out of ideas"}
    assert "theirs has no figures: seed 1: RuntimeError: out of ideas" in (shared_results / "DETAILS.md").read_text()


def test_a_linear_probe_finds_a_linear_signal_and_none_in_noise() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(300, 5))
    vectors = truth @ rng.normal(size=(5, 12)) + 0.05 * rng.normal(size=(300, 12))
    assert linear_probe(vectors, truth) > 0.95
    assert linear_probe(rng.normal(size=(300, 12)), truth) < 0.2


def test_report_and_card_are_written_from_results(shared_results: Path) -> None:
    report = (shared_results / "DETAILS.md").read_text()
    assert "no difference found between" in report  # equal to a baseline
    for chart in (
        "order-strength-accuracy",
        "order-strength-ndcg",
        "simulated-order-strength-1-cold-start",
        "simulated-order-strength-1-calibration",
    ):
        assert f"charts/{chart}.svg" in report
        assert (shared_results / "charts" / f"{chart}.svg").read_text().startswith("<?xml")
    card = (shared_results / "MODEL_CARD.md").read_text()
    assert "| simulated, ω = 1 |" in card
    assert "Does the sequence model learn from order" in (shared_results / "REPORT.md").read_text()
    before = (shared_results / "REPORT.md").read_bytes()
    arguments = ["--results", str(shared_results / "results.json"), "--report", str(shared_results / "REPORT.md")]
    assert main(["evaluate", "--report-only", *arguments]) == 0
    assert (shared_results / "REPORT.md").read_bytes() == before


def test_errors_name_what_cannot_be_evaluated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--results", str(tmp_path / "r.json"), "--report", str(tmp_path / "R.md")]
    assert main(["evaluate", *arguments]) == 2
    assert main(["evaluate", "netflix", *arguments]) == 1
    assert main(["evaluate", "simulated", "--recommender", "nowhere:at_all=x", *arguments]) == 1
    assert main(["data", "deskdrop", "--data-dir", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    for words in ("name a set", "no set is called 'netflix'", "no recommender at", "--data-dir"):
        assert words in errors


def test_results_of_another_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"format": 9, "sets": []}')
    with pytest.raises(ValueError, match="has format 9, this version reads 2"):
        results.read(tmp_path / "results.json")
