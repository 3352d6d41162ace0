"""`vows-edge train`: a checkpoint from simulated worlds, a public data set, or your own log.

Its options are in `training.cli.train`.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.card import checkpoint_card
from training.checkpoint import BEST, VALIDATED, Checkpoint
from training.data import public
from training.data.command import FEWEST_EVENTS, load_own
from training.data.events import SKIP, Dataset
from training.data.split import Split, by_time, joined, periods
from training.errors import TrainingError
from training.recipes import RECIPES, Recipe, of_log
from training.refit import refitted
from training.simulator.multi_world import multi_world, multi_world_with_expected
from training.simulator.parameters import Parameters
from training.train import fingerprint, train

_OFTEN = 5  # events that make an item known


def run(options: argparse.Namespace) -> int:
    """Returns the exit status. Raises TrainingError for options that contradict each other or the data."""
    start = Checkpoint.load(options.start) if options.start else None
    if options.since is not None and start is None:
        raise TrainingError("--since names the events that are new to an earlier checkpoint: give one with --from")
    if start is not None and options.events and not options.days_to_event_key:
        options.days_to_event_key = start.data.get("days_to_event_key")
    if options.hold_out and not options.events:
        raise TrainingError("--hold-out leaves out a part of a log of your own: give one with --events")
    if options.expected_actions and (options.events or options.public_set):
        raise TrainingError("--expected-actions is for simulated worlds: only their simulator knows probabilities")
    training, validation, expected = _parts(options)
    checkpoint = _train(options, training, validation, start, expected)
    best = options.out / BEST
    if options.events:
        checkpoint = _refit(options, checkpoint, training, validation, start)
    elif start is not None:
        checkpoint.data |= {"fine_tuned_from": start.lineage}
        checkpoint.save(best)
    (best / "README.md").write_text(checkpoint_card(checkpoint, best), encoding="utf-8")
    print(f"the weights are in {best}; make a bundle of them with: vows-edge export sequence --checkpoint {best}")
    if options.push:
        print(f"uploaded to {push(best, options.push)}")
    return 0


def push(folder: Path, repository: str) -> str:
    """Upload a checkpoint's folder to the Hugging Face Hub with the caller's own login; returns its URL.

    Raises TrainingError without huggingface_hub, or when the upload fails.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise TrainingError("--push needs `pip install huggingface_hub` and `hf auth login`") from error
    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True, private=True)
        return str(api.upload_folder(folder_path=folder, repo_id=repository))
    except Exception as error:  # of the network, the login or the repository; its own words say which
        raise TrainingError(f"the upload to {repository} failed: {error}; the checkpoint is in {folder}") from error


def _train(
    options: argparse.Namespace,
    training: Dataset,
    validation: Dataset,
    start: Checkpoint | None,
    expected: NDArray[np.float32] | None,
) -> Checkpoint:
    """The weights that validation chose; those of a run that got as far are read."""
    recipe = _recipe(options, start, training, validation)
    validated = options.out / VALIDATED
    if options.events and validated.exists():
        before = Checkpoint.load(validated)
        if (before.recipe, before.data["sha256"]) == (recipe, fingerprint(training, validation)["sha256"]):
            return before
    return train(
        training, validation, recipe, options.out,
        start=start, new=_new(training, options.since), replay=options.replay, expected=expected,
        device=options.device,
    )  # fmt: skip


def _refit(
    options: argparse.Namespace, chosen: Checkpoint, training: Dataset, validation: Dataset, start: Checkpoint | None
) -> Checkpoint:
    """Keep the chosen weights, and write those that have seen the log as `best`."""
    times = {
        "trained_until_us": int(training.events.time_us.max()),  # what weights were fitted to
        "seen_until_us": int(validation.events.time_us.max()),  # and what chose among them
    }
    name = options.name or options.out.absolute().name
    before = {} if start is None else {"fine_tuned_from": start.lineage}
    chosen = replace(chosen, data=chosen.data | times | before | {"model_name": name})
    chosen.save(options.out / VALIDATED)
    print("one more epoch reads all of it", file=sys.stderr)
    final = refitted(chosen, joined(training, validation), options.device)
    final.data |= {"trained_until_us": times["seen_until_us"]}
    final.save(options.out / BEST)
    return final


def _parts(options: argparse.Namespace) -> tuple[Dataset, Dataset, NDArray[np.float32] | None]:
    """What is trained on, what chooses the number of epochs, and the probabilities of actions to train on, if any.

    Raises TrainingError for a share that is none.
    """
    own = load_own(options)
    if own is None:
        split, expected = _split(options)
        return split.train, split.validation, expected
    if not 0 <= options.hold_out < 0.9:
        raise TrainingError(f"--hold-out {options.hold_out:g} is no share of the log from 0 up to 0.9")
    _warn_of_few(own)
    rest = 1 - options.hold_out
    shares = [0.9 * rest, 0.1 * rest, *([options.hold_out] if options.hold_out else [])]
    try:
        training, validation, *_ = periods(own, shares)
    except ValueError as error:  # of a log of a few events
        raise TrainingError(str(error)) from error
    return training, validation, None


def _warn_of_few(own: Dataset) -> None:
    if (engaged := int((own.events.action != SKIP).sum())) < FEWEST_EVENTS:
        print(
            f"warning: {own.name} has {engaged:,} engaged events; with fewer than {FEWEST_EVENTS:,} a trained model "
            "follows chance, and `vows-edge evaluate` cannot tell whether it is better",
            file=sys.stderr,
        )


def _split(options: argparse.Namespace) -> tuple[Split, NDArray[np.float32] | None]:
    if options.public_set is not None:
        return by_time(public.load(options.public_set, options.data_dir)), None
    parameters = replace(Parameters(), users=options.users)
    if options.expected_actions:
        return multi_world_with_expected(options.worlds, parameters)
    return multi_world(options.worlds, parameters), None


def _recipe(options: argparse.Namespace, start: Checkpoint | None, training: Dataset, validation: Dataset) -> Recipe:
    """The checkpoint's own recipe for fine-tuning, because the shapes have to be the same."""
    if start is not None:
        recipe = start.recipe
        if options.events:  # how often worlds were read says nothing about a log
            recipe = replace(recipe, epochs=recipe_of_log(training, validation).epochs)
    elif options.recipe is None and options.events:
        recipe = recipe_of_log(training, validation)
    else:
        recipe = RECIPES[options.recipe or "reference"]()
    if start is not None and options.layers not in (None, recipe.layers):
        raise TrainingError(f"{options.start} has {recipe.layers} layers; --layers {options.layers} cannot change them")
    changes: dict[str, int] = {"seed": options.seed, "expected_actions": options.expected_actions}
    changes |= {name: getattr(options, name) for name in ("layers", "epochs") if getattr(options, name) is not None}
    return replace(recipe, **changes)  # type: ignore[arg-type]


def recipe_of_log(training: Dataset, validation: Dataset) -> Recipe:
    """What a log is trained with where no recipe is named."""
    return of_log(int((training.events.action != SKIP).sum()), known_share(training, validation))


def known_share(training: Dataset, validation: Dataset) -> float:
    """Share of the engaged events of `validation` whose item had five engaged events or more in `training`."""
    counts = np.bincount(training.events.item[training.events.action != SKIP], minlength=len(training.catalogue))
    later = validation.events.item[validation.events.action != SKIP]
    return float((counts[later] >= _OFTEN).mean()) if len(later) else 0.0


def _new(training: Dataset, since: np.datetime64 | None) -> NDArray[np.bool_] | None:
    if since is None:
        return None
    new: NDArray[np.bool_] = training.events.time_us >= since.astype("datetime64[us]").astype(np.int64)
    if not new.any():
        raise TrainingError(f"no event of the training part is from {since} or later; choose an earlier day")
    return new
