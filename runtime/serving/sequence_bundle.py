"""The folder of the sequence bundle: what is there, and whether it is another one than before."""

import logging
from collections.abc import Sequence
from pathlib import Path

from runtime.models.bundle import MANIFEST, Bundle, BundleError
from runtime.models.bundle_folder import Stamp, folder_stamp
from runtime.models.sequence_model import SequenceModel, load_sequence_model

log = logging.getLogger("vows")

KIND = "sequence"


class SequenceBundle:
    """Looks for the bundle in `folders`, first to last. `problem`: why the one that is there cannot be served."""

    def __init__(self, folders: Sequence[Path], content_model_version: str, copies: Path | None = None) -> None:
        self.problem: str | None = None
        self._folders = folders
        self._content_model_version = content_model_version
        self._copies = copies
        self._seen: Stamp | None = None

    def changed(self) -> bool:
        """Whether the folder's files differ from those of the last call: another bundle, or one that is still being
        copied and has grown."""
        stamp = folder_stamp(self._folder)
        if stamp is None or stamp == self._seen:
            return False
        self._seen = stamp
        return True

    def load(self, *, otherwise: str) -> SequenceModel | None:
        """The model, which has passed its self-test; None where it cannot be served. The log then says why, and what
        happens `otherwise`. Called from any thread."""
        try:
            bundle = Bundle.load(self._folder.resolve(), kind=KIND, copies=self._copies)
            model = load_sequence_model(bundle, self._content_model_version)
        except Exception as error:  # a bundle can be wrong in any way: none of them may end what is served
            known = isinstance(error, BundleError)
            what = "" if known else f"bundle {self._folder}: {type(error).__name__}: "
            self.problem = f"{what}{error}"
            log.error("%s; %s", self.problem, otherwise)
            return None
        self.problem = None
        return model

    @property
    def _folder(self) -> Path:
        return next((folder for folder in self._folders if (folder / MANIFEST).exists()), self._folders[-1])
