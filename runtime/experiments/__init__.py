"""Live experiments as pure functions: assignment, sequential statistics, decisions, exploration."""
