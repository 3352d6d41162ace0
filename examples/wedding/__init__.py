"""A wedding catalogue, a few couples, and what happens to their taste: `vows-edge demo`."""
