"""One run of the tiny suite, kept in a history, and quick runs of the cases of real suites."""

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from bench import history
from bench.__main__ import main
from bench.case_result import CaseResult
from bench.runner import default_conditions, run_case
from bench.suites import load_suite

TINY = "tests.bench.tiny_suite"


class TinyBench:
    """The command line on the tiny suite, with targets and a history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = folder / "history.jsonl"

    def targets(self, **limits: tuple[float, str]) -> Path:
        """A file of targets: metric → (limit, kind), all "at most"."""
        path = self.folder / "targets.toml"
        path.write_text(
            "\n".join(
                f'[[target]]\nmetric = "tiny.{name}"\nlimit = {limit}\nkind = "{kind}"\nsource = "a test"\n'
                for name, (limit, kind) in limits.items()
            )
        )
        return path

    def run(self, *options: str, targets: Path) -> int:
        return main([TINY, "--targets", str(targets), "--history", str(self.history), *options])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> TinyBench:
    return TinyBench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def tiny_run(tiny) -> history.Run:
    """Its one target is missed, which fails nothing without `--check`."""
    assert tiny.run(targets=tiny.targets(size_mib=(19, "size"))) == 0
    return history.read(tiny.history)[-1]


@pytest.fixture
def quick_case(bundle_path) -> Callable[..., CaseResult]:
    """Runs a few rounds of a case of a module's suite, which fill every metric declared of it but those `without`."""

    def run(module: str, name: str, without: Collection[str] = ()) -> CaseResult:
        suite = load_suite(module)
        result = run_case(module, suite.case(name), default_conditions(bundle_path.parent, quick=True))
        if result.not_measured:
            pytest.skip(result.not_measured)
        assert result.failed is None
        own = [metric for metric in suite.metrics if metric.case == name]
        assert {metric.name for metric in own if not metric.values(result.series)} == set(without)
        return result

    return run
