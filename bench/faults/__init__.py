"""What is done to the server on purpose: killed at any moment, refused call by call, kept busy for long."""
