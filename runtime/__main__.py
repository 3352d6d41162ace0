"""`python -m runtime`: as `vows-edge`, and without a command it serves."""

from runtime.cli.main import serve_or_command

if __name__ == "__main__":
    raise SystemExit(serve_or_command())
