"""One module a sub-command of `vows-edge`."""
