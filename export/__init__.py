"""From published weights to a model bundle that the runtime can map into memory. `python -m export --help`."""
