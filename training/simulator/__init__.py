"""A simulator of couples planning a wedding: full ground truth, which no public log has, and a Bayes-optimal oracle."""
