"""The domain as pure functions on arrays: interaction weights, decay, user vector, cold start, ranking."""
