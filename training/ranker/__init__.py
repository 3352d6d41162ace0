"""The hybrid ranker of a site's own log: neighbours by counting, weights by a listwise loss, a bundle to serve."""
