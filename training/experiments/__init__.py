"""Trainings compared on validation events: ablations, recipe tuning, incremental training."""
