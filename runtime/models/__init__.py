"""What the weights compute: numpy in, numpy out. No HTTP, no storage."""
