"""Small programs that talk to a running server, on real input."""
