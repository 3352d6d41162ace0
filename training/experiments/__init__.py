"""Trainings compared on validation events: the study, recipe tuning, incremental training."""
