"""All items in memory: fields, vectors and labels."""
