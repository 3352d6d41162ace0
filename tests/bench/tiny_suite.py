"""A suite without a server: one case that measures, and one for each way a case can fail to."""

import os
import time

from bench.suite import Case, Metric, NotMeasured, Suite, ratio, raw


def measure(conditions, samples):
    for n in range(1, 6):
        samples.add("time_ms", 10.0 * n)
        samples.add("roofline_ms", 10.0 * n / 2)
    samples.add("size_mib", 20.0)
    samples.note("core", conditions.client_core)
    samples.note("affinity_matches", os.sched_getaffinity(0) == {conditions.client_core})
    samples.note("process", os.getpid())


def break_half_way(conditions, samples):
    samples.add("broken_mib", 1.0)
    raise RuntimeError("the third call failed")


def die(conditions, samples):
    os._exit(3)


def cannot(conditions, samples):
    raise NotMeasured("needs root")


def hang(conditions, samples):
    time.sleep(60)


SUITE = Suite(
    name="tiny",
    purpose="what a suite may meet",
    reading="Made of nothing.",
    cases=(
        Case("works", measure),
        Case("breaks", break_half_way),
        Case("dies", die),
        Case("cannot", cannot),
        Case("hangs", hang, limit_s=1.0),
    ),
    metrics=(
        Metric("tiny.time_ms", "works", "ms", "higher", raw("time_ms")),
        Metric("tiny.ratio", "works", "x roofline", "higher", ratio("time_ms", "roofline_ms")),
        Metric("tiny.size_mib", "works", "MiB", "higher", raw("size_mib")),
        Metric("tiny.broken_mib", "breaks", "MiB", "higher", raw("broken_mib")),
        Metric("tiny.dead_mib", "dies", "MiB", "higher", raw("dead_mib")),
        Metric("tiny.rootless_mib", "cannot", "MiB", "higher", raw("rootless_mib")),
        Metric("tiny.late_mib", "hangs", "MiB", "higher", raw("late_mib")),
    ),
)
