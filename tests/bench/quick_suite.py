"""Three cases that do next to nothing: for the order they run in."""

from bench.suite import Case, Metric, Suite, raw


def measure(conditions, samples):
    samples.add("one", 1.0)


SUITE = Suite(
    name="quick",
    purpose="order",
    reading="Nothing.",
    cases=tuple(Case(name, measure) for name in ("a", "b", "c")),
    metrics=(Metric("quick.one", "a", "", "higher", raw("one")),),
)
