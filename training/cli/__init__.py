"""Options of the sub-commands that `vows-edge` has, too: read without PyTorch, which is imported to run one."""
