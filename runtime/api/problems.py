"""The one place where what goes wrong below becomes an answer."""

import logging
from math import ceil

from runtime.catalog.catalog import CatalogFull
from runtime.catalog.files import RowDamaged
from runtime.http.errors import ApiError, invalid, not_found
from runtime.models.disconnection import ClientDisconnected
from runtime.models.embedder import BatchTooLarge
from runtime.models.installed import SwitchError
from runtime.models.scheduler import QueueFull
from runtime.models.text_encoder import ModelFailed
from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.candidates import InvalidVector
from runtime.serving.content import BlankContent, NotEmbedded
from runtime.serving.experiment_state import InvalidExperiment
from runtime.serving.experiments import ExperimentConflict, UnknownExperiment
from runtime.serving.sequence import NotInstalled
from runtime.serving.served_models import UnknownModel
from runtime.serving.user_vectors import NoContent
from runtime.serving.users import BlankPreferences
from runtime.store import StoreBusy, StoreError, StoreUnreachable

log = logging.getLogger("vows")


def problem(error: BaseException) -> ApiError | None:
    """The answer to an exception of the domain; None for any other."""
    match error:
        case QueueFull():
            return ApiError(503, "overloaded", str(error), retry_after_s=_whole(error), reason="queue_full")
        case BatchTooLarge():
            return ApiError(413, "batch_too_large", str(error))
        case DeadlineExceeded():
            return ApiError(503, "overloaded", str(error), retry_after_s=_whole(error), reason="deadline")
        case StoreBusy():
            return ApiError(503, "overloaded", str(error), retry_after_s=1, reason="writes_full")
        case RowDamaged():
            log.error("%s; the next start makes the catalogue's files again", error)
            return ApiError(503, "storage_unavailable", f"{error}; try again", retry_after_s=1)
        case CatalogFull():
            return ApiError(507, "catalog_full", str(error))
        case StoreUnreachable():  # said once, by the store
            return ApiError(503, "storage_unavailable", str(error), retry_after_s=1)
        case StoreError():
            log.error("storage: %s", error)
            return ApiError(503, "storage_unavailable", str(error), retry_after_s=5)
        case NoContent():
            return ApiError(404, "no_content", str(error))
        case InvalidVector():
            brought_by = "$" if error.candidate is None else f"$.candidates[{error.candidate}]"
            return invalid(str(error), f"{brought_by}.embedding")
        case NotInstalled():
            return ApiError(409, "no_sequence_model", str(error))
        case SwitchError():
            return ApiError(409, "no_other_bundle", str(error))
        case UnknownModel():
            return ApiError(404, "unknown_model", str(error))
        case ModelFailed():
            log.error("model: %s", error)
            return ApiError(503, "model_failed", str(error), retry_after_s=5)
        case ClientDisconnected():
            return ApiError(499, "client_gone", "the client disconnected before the response")  # seen in /metrics alone
        case BlankContent():
            return invalid(str(error), "$")
        case BlankPreferences():
            return invalid(str(error), "$.preferences")
        case UnknownExperiment():
            return not_found("experiment", str(error))
        case ExperimentConflict():
            return ApiError(409, "experiment_conflict", str(error))
        case InvalidExperiment():
            return invalid(str(error), error.field)
        case NotEmbedded():
            return ApiError(503, "overloaded", str(error), retry_after_s=5)
    return None


def _whole(error: QueueFull | DeadlineExceeded) -> int:
    """Retry-After is in whole seconds, and at once would be in vain."""
    return max(1, ceil(error.retry_after_s))
