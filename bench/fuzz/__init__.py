"""Requests that nobody wrote: drawn from the OpenAPI document, and mutated from requests that work."""
