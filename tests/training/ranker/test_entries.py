"""The options of two commands are declared once; what is in a results file is compared again only when asked."""

import argparse

import pytest

from training.data import public
from training.data.files import DataError
from training.ranker import action_comparison, comparison_command
from training.ranker.entries import SIMULATED, add_options, pending, simulated_worlds


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser, results="results.json", worlds=(7, 8))
    return parser.parse_args(arguments)


def test_every_split_of_a_set_and_every_order_strength_is_an_entry() -> None:
    found = pending(options("deskdrop", SIMULATED), list)
    assert [(one.key, one.protocol, one.order_strength) for one in found] == [
        ("deskdrop, time", "time", None), ("deskdrop, last", "last", None),
        ("simulated, order strength 0", "time", 0.0), ("simulated, order strength 1", "time", 1.0),
    ]  # fmt: skip


def test_what_is_in_the_results_is_compared_again_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    def keys() -> list[str]:
        return ["deskdrop, time"]

    assert [one.key for one in pending(options("deskdrop"), keys)] == ["deskdrop, last"]
    assert "deskdrop, time: already in results.json; --again replaces it" in capsys.readouterr().err
    assert len(list(pending(options("deskdrop", "--again"), keys))) == 2


def test_an_unknown_set_is_refused_and_one_that_is_not_there_is_passed_over(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="no set is called nosuch; there are simulated, deskdrop"):
        list(pending(options("nosuch"), list))
    found = {one.name for one in pending(options("--data-dir", str(tmp_path)), list)}
    assert SIMULATED in found
    assert found.isdisjoint(public.FOLDERS)
    assert "deskdrop: not available" in capsys.readouterr().err


def test_worlds_are_simulated_as_asked() -> None:
    asked = options(SIMULATED, "--world-users", "20", "--order-strengths", "0")
    (entry,) = pending(asked, list)
    found = list(simulated_worlds(asked, entry))
    assert [title for title, _ in found] == [f"{entry.key}, world {seed}" for seed in (7, 8)]
    assert all(len(dataset.users) == 20 for _, dataset in found)


@pytest.mark.parametrize("module", [action_comparison, comparison_command])
def test_both_commands_take_the_shared_options(module: object) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    module.add_command(commands)  # type: ignore[attr-defined]
    asked = parser.parse_args([module.NAME, "deskdrop", "--sample-users", "9", "--again"])  # type: ignore[attr-defined]
    assert (asked.sets, asked.sample_users, asked.again) == (["deskdrop"], 9, True)
