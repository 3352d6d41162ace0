"""HTTP without a domain: server, protocol, endpoint declarations, errors, keys, limits, OpenAPI."""
