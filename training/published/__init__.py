"""Sequence models as they were published, small: the baselines that any sequence model has to be compared with."""
