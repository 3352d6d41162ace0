"""Print the pip option for PyTorch's CPU index, where it is of use and can be reached; nothing otherwise.

On Linux a plain `torch` is the GPU build with gigabytes of libraries. pip retries an index that it cannot reach for
minutes, for every package, so it gets to know this one only after it has answered. Standard library alone: it runs
before anything is installed.

    pip install $(python export/torch_index.py) ...
"""

import os
import sys
import threading
import urllib.request

INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 3.0


def reachable(index: str = INDEX, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether the index answers for torch within `timeout_s` in all, name lookup and proxy included."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=timeout_s) as answer:
                if answer.status == 200:
                    answered.set()
        except (OSError, ValueError):  # URLError is an OSError
            pass
        finally:
            done.set()

    done = threading.Event()
    threading.Thread(target=ask, daemon=True).start()  # a name lookup has no timeout of its own
    done.wait(timeout_s)
    return answered.is_set()


def main() -> None:
    if sys.platform == "linux" and reachable():
        print(f"--extra-index-url {INDEX}", flush=True)
    os._exit(0)  # without waiting for a thread that may hang in a name lookup


if __name__ == "__main__":
    main()
