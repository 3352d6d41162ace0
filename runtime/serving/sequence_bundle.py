"""The folder of the sequence bundle: what is there, and whether it is another one than before."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from runtime.models.bundle import MANIFEST, Bundle, BundleError
from runtime.models.sequence_model import SequenceModel, load_sequence_model

log = logging.getLogger("vows")

KIND = "sequence"


class SequenceBundle:
    """Looks for the bundle in `folders`, first to last. `problem`: why the one that is there cannot be served."""

    def __init__(self, folders: Sequence[Path], content_model_version: str) -> None:
        self.problem: str | None = None
        self._folders = folders
        self._content_model_version = content_model_version
        self._seen: tuple[object, ...] | None = None

    def changed(self) -> bool:
        """Whether a bundle is there that was not there when this was last called."""
        stamp = _stamp(self._folder)
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        return True

    def load(self, *, otherwise: str) -> SequenceModel | None:
        """The model, which has passed its self-test; None where it cannot be served. The log then says why, and what
        happens `otherwise`. Called from any thread."""
        try:
            bundle = Bundle.load(self._folder.resolve(), kind=KIND)
            model = load_sequence_model(bundle, self._content_model_version)
        except BundleError as error:
            self.problem = str(error)
            log.error("%s; %s", error, otherwise)
            return None
        self.problem = None
        return model

    @property
    def _folder(self) -> Path:
        return next((folder for folder in self._folders if (folder / MANIFEST).exists()), self._folders[-1])


def _stamp(folder: Path) -> tuple[object, ...] | None:
    """What changes when another bundle takes the folder's place; None while there is none."""
    with contextlib.suppress(OSError):
        found = (folder / MANIFEST).stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    return None
