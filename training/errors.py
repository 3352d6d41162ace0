"""Errors of training. Each message has what was found, what was expected and what to do."""


class TrainingError(Exception):
    """The run cannot start or continue; the last checkpoint is unchanged."""
