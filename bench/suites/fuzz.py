"""placeholder"""

from bench.suite import Suite

SUITE = Suite("fuzz", "-", "-", (), ())
