"""Offline evaluation: recommenders under one protocol, tuned alike, with intervals and a report written from
results."""
