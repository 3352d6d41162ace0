"""Where the codes of items begin: the main directions of what a model that knows them by their text leaves unexplained.

A step touches few items, and codes that begin at zero have no gradient towards a shared direction: both factors of a
product have to be there before either is worth anything. A singular value decomposition finds them at once.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from training.data.events import ACTIONS, Dataset
from training.model import SequenceModel
from training.recipes import Recipe
from training.windows import Windows

SIZE = 1.6  # mean length of an item's factors, in codes: about as loud as what texts differ in
_USER_DOUBT, _ITEM_DOUBT = 50.0, 20.0  # events' worth: who is seldom seen says little
_BATCH = 32


def residual_factors(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float32]:
    """Codes f32 (items, id_rank) from r = how far an action went minus how far the model expected it to go.

    The first is an item's mean of r. The others are the right singular vectors, times the singular values, of
    Σ (r − mean) of a user and an item over √((events of the user + a)(events of the item + b)), for each market apart.
    """
    events, rank, items = dataset.events, recipe.id_rank, len(dataset.catalogue)
    left = events.action - expected(model, dataset, recipe)
    of_user, of_item = np.bincount(events.user, minlength=len(dataset.users)), np.bincount(events.item, minlength=items)
    mean = np.bincount(events.item, left, minlength=items) / (of_item + _ITEM_DOUBT)
    doubt = np.sqrt((of_user[events.user] + _USER_DOUBT) * (of_item[events.item] + _ITEM_DOUBT))
    table = sparse.csr_matrix(
        ((left - mean[events.item]) / doubt, (events.user, events.item)), (len(dataset.users), items)
    )
    codes = np.zeros((items, rank), np.float32)
    market = np.zeros(items, np.int16) if dataset.market is None else dataset.market
    for one in np.unique(market):
        own = np.flatnonzero(market == one)
        part = table[:, own]
        part = part[part.getnnz(axis=1) > 0]
        k = min(rank - 1, *(size - 1 for size in part.shape))
        if k < 1 or not part.count_nonzero():  # nothing is left where everybody does the same with everything
            continue
        _, strength, directions = svds(part, k=k, v0=np.ones(min(part.shape)))
        codes[own, 1 : 1 + k] = (directions.T * strength)[:, ::-1]
        codes[own, 0] = mean[own] * np.linalg.norm(codes[own]) / (np.linalg.norm(mean[own]) * np.sqrt(rank) + 1e-12)
        codes[own] *= SIZE / (np.linalg.norm(codes[own], axis=1).mean() + 1e-12)
    return codes


@torch.inference_mode()
def expected(model: SequenceModel, dataset: Dataset, recipe: Recipe) -> NDArray[np.float64]:
    """Mean of the action's code by the model's probabilities, at each event from those before it: f64 [events]."""
    windows = Windows(dataset, recipe.context, negatives=recipe.negatives)
    found = np.zeros(len(dataset.events))
    reached = torch.arange(len(ACTIONS), dtype=torch.float32)
    model.eval()
    for chosen in windows.batches_in_order(_BATCH):
        batch = windows.batch(chosen, (0,))
        _, logits, _ = model(batch)
        rows = windows.rows(chosen)[batch.scored.numpy()]
        found[rows] = (torch.softmax(logits[batch.scored], dim=-1) @ reached).numpy()
    return found
