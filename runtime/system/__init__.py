"""The process and its machine: memory, CPU, logs, metrics, request traces."""
