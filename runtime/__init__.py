"""Everything that runs on the small machine: HTTP, ONNX sessions, user state, ranking, storage."""

VERSION = "0.1.0"
