"""A wedding catalogue, the journeys of six couples, and how their rankings change: `vows-edge demo`."""
