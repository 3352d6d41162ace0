"""What the API offers, as async functions on domain types."""
