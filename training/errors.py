"""What can go wrong in training. Each message says what was found, what was expected and what to do."""


class TrainingError(Exception):
    """The run cannot start or go on; the last checkpoint is as it was."""
