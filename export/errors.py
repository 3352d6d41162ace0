"""Errors of an export. Each message has what was found, what was expected and what to do."""


class ExportError(Exception):
    """The bundle cannot be made; nothing was written."""


class SourceError(ExportError):
    """The source weights are missing, are not the pinned ones, or are of an architecture that is not handled."""


class GateError(ExportError):
    """The quantised model misses its quality gate."""
