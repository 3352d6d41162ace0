"""The suites, one module each, in the order in which they run. Every module declares `SUITE`."""

import importlib

from bench.suite import Suite

NAMES = ("embed", "start", "memory", "users", "rank", "search", "load", "quality", "session", "sequence")
# Run when named: they take long or need a set-up of their own.
OPT_IN = (
    "first_answer", "front", "bulk", "capacity", "experiment_kills", "experiment_methods", "experiments", "faults",
    "fuzz", "machines", "peers", "rollback", "search_peers", "sizing", "training", "bench.vm.suite",
)  # fmt: skip


def module_of(name: str) -> str:
    """The module that declares the suite of that name; a dotted name is a module itself."""
    return name if "." in name else f"bench.suites.{name}"


def load_suite(module: str) -> Suite:
    """The suite a module declares. Raises TypeError when it declares none."""
    suite = getattr(importlib.import_module(module), "SUITE", None)
    if not isinstance(suite, Suite):
        raise TypeError(f"{module} declares no SUITE")
    return suite


MODULES = tuple(module_of(name) for name in (*NAMES, *OPT_IN))
