"""`python -m export compare`: placeholder."""


def add_command(commands): ...
