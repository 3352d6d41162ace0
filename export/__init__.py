"""From published weights to a model bundle that the runtime maps into memory. `python -m export --help`."""
