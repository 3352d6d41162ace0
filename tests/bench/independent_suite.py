"""The cases of `quick_suite`, each kept by itself."""

from dataclasses import replace

from tests.bench.quick_suite import SUITE as QUICK

SUITE = replace(QUICK, name="independent", independent=True)
