"""Fault injection: SIGKILL at any time, failing system calls and model runs, overload, a long load."""

KILLS = 200  # of a full run
