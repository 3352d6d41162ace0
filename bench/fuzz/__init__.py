"""Generated requests: drawn from the OpenAPI document, and mutated from valid requests."""
