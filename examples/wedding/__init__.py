"""A wedding catalogue, a few couples, and what happens to their taste: `python -m examples.wedding.demo`."""
