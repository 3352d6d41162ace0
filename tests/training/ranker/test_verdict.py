"""`vows-edge evaluate --events`: one verdict about a log."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.small_world import ITEMS, small_world
from training.__main__ import main
from training.checkpoint import BEST, VALIDATED
from training.data.events import ACTIONS, Dataset, Events
from training.data.files import read_files, write_parquet
from training.data.vectors import CACHE_VARIABLE
from training.ranker import verdict as module
from training.ranker.verdict import as_text, verdict

USERS = 200
HERE = "--events data"


@pytest.fixture(scope="module")
def world() -> Dataset:
    return small_world(users=USERS)


def test_where_the_order_can_be_learned_the_fitted_hybrid_is_better_and_the_commands_install_it(world: Dataset) -> None:
    found = verdict(world, HERE)
    assert found.outcome == "better", as_text(found)
    assert found.sentence.startswith("better: fitted hybrid, by +0.")
    *_, sentence, train, install = as_text(found).splitlines()
    assert sentence == f"{found.sentence}; install it with:"
    assert train.strip() == "vows-edge train ranker --events data --out models/rankers/mine"
    assert install.strip() == "vows-edge models install models/rankers/mine"
    assert {row.name for row in found.rows} == {
        "untrained hybrid", "fitted hybrid", "simple", "popularity, tuned"
    }  # fmt: skip


def test_in_a_log_of_chance_no_difference_is_found(world: Dataset) -> None:
    draw = np.random.default_rng(5)
    columns = vars(world.events) | {"item": draw.integers(0, ITEMS, len(world.events))}
    found = verdict(replace(world, events=Events.of(**columns)), HERE)
    assert found.outcome == "no_difference", as_text(found)
    assert found.install == []


def test_a_small_log_gets_the_numbers_that_it_lacks(world: Dataset) -> None:
    few = world.with_events(world.events.take(slice(0, 900)))
    found = verdict(few, HERE)
    assert (found.outcome, found.rows) == ("too_little_data", [])
    assert f"{found.engaged_events:,} engaged events, at least 2,000 are needed" in found.sentence
    few_users = verdict(small_world(users=30, each=200), HERE)
    assert few_users.outcome == "too_little_data"
    assert "at least 50 are needed" in few_users.sentence


def test_a_checkpoint_is_judged_as_it_is(
    shared_checkpoint: Path, world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_QUERIES", 300)
    found = verdict(world, HERE, shared_checkpoint)
    assert "sequence" in {row.name for row in found.rows}
    (note,) = found.notes
    assert "fitted hybrid + sequence is left out" in note
    renamed = replace(world, catalogue=replace(world.catalogue, ids=[f"other-{n}" for n in range(ITEMS)]))
    assert verdict(renamed, HERE, shared_checkpoint).notes == [
        "the checkpoint was trained on none of the items of this log"
    ]


def test_a_checkpoint_that_has_seen_the_newest_fifth_is_left_out_and_one_made_without_it_is_judged(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_QUERIES", 300)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    write_parquet(world, tmp_path)
    log = ["--events", str(tmp_path / "events.parquet"), "--items", str(tmp_path / "items.parquet")]
    quick = ["train", *log, "--recipe", "tiny", "--epochs", "1"]
    assert main([*quick, "--out", str(tmp_path / "all")]) == 0
    assert main([*quick, "--out", str(tmp_path / "judged"), "--hold-out", "0.2"]) == 0
    data = read_files(tmp_path / "events.parquet", tmp_path / "items.parquet")
    found = verdict(data, HERE, tmp_path / "all" / BEST)
    assert "sequence" not in {row.name for row in found.rows}
    (note,) = found.notes
    assert "the checkpoint is left out: it has seen events up to" in note
    assert "vows-edge train --events data --hold-out 0.2 --out checkpoints/judged" in note
    held_out = verdict(data, HERE, tmp_path / "judged" / BEST)
    assert {"sequence", "fitted hybrid + sequence"} < {row.name for row in held_out.rows}
    assert held_out.notes == []
    (tmp_path / "judged" / VALIDATED).rename(tmp_path / "elsewhere")
    alone = verdict(data, HERE, tmp_path / "judged" / BEST)
    assert "fitted hybrid + sequence" not in {row.name for row in alone.rows}


def test_the_hybrid_with_the_sequence_model_is_installed_after_that_model() -> None:
    commands = module._install(module.BOTH, HERE, Path("checkpoints/judged/best"))
    assert [command.split("   #")[0] for command in commands] == [
        "vows-edge train --events data --out checkpoints/mine",
        "vows-edge export sequence --checkpoint checkpoints/mine/best --out models/sequences/mine",
        "vows-edge train ranker --events data --sequence checkpoints/mine --out models/rankers/mine",
        "vows-edge models install models/sequences/mine",
        "vows-edge models install models/rankers/mine",
    ]


def test_the_command_writes_nothing_and_speaks_json(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = world.events
    rows = zip(events.user, events.item, events.action, events.time_us, strict=True)
    lines = [
        {"user_id": f"u{user}", "content_id": f"item-{item}", "action": ACTIONS[action],
         "timestamp": str(np.datetime64(int(t), "us")) + "Z"}
        for user, item, action, t in rows
    ][:600]  # fmt: skip
    log = tmp_path / "events.ndjson"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert main(["evaluate", "--events", str(log), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "too_little_data"
    assert list(work.iterdir()) == []
    assert main(["evaluate", "--json"]) == 1
    assert "give --events" in capsys.readouterr().err


def test_train_ranker_is_a_command_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "ranker", "--help"], "vows-edge")
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("usage: vows-edge train ranker ")
    assert main(["train", "ranker", "--out", str(tmp_path / "out")]) == 1
    assert "name a log with --events" in capsys.readouterr().err
