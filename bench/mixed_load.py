"""Mixed traffic against a server that already runs, in an image or a machine: `python -m bench.mixed_load PORT`."""

import argparse
import itertools
import sys
from collections import Counter
from pathlib import Path

from bench.http_client import Connection
from bench.texts import TextSource, load_tokenizer
from bench.traffic import MixedTraffic
from runtime.models.installed import PACKAGED, TEXT_ENCODER


def load(port: int, bundle: Path, requests: int, seed: int, timeout_s: float) -> Counter[str]:
    """Send `requests` mixed requests and one batch of 32 texts of 256 tokens; how many responses were as expected.

    Keys: "as expected", and one for each wrong answer, with the request and the status. The server has to be empty
    at the start. Raises ConnectionError when it disconnects.
    """
    traffic = MixedTraffic(TextSource(load_tokenizer(bundle), seed), seed)
    outcomes: Counter[str] = Counter()
    with Connection(port, timeout_s) as connection:
        for checked in itertools.chain(itertools.islice(iter(traffic), requests), [traffic.large_batch()]):
            status, _ = connection.send(checked.request)
            outcomes["as expected" if status in checked.expected else f"{checked.name} answered {status}"] += 1
    return outcomes


def main() -> int:
    """Run the command line; 1 when an answer was not as expected."""
    parser = argparse.ArgumentParser(prog="python -m bench.mixed_load", description=__doc__)
    parser.add_argument("port", type=int, help="port on 127.0.0.1 of a server with an empty data folder")
    parser.add_argument("--bundle", type=Path, default=PACKAGED / TEXT_ENCODER, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one answer; default: %(default)s")
    chosen = parser.parse_args()
    outcomes = load(chosen.port, chosen.bundle, chosen.requests, chosen.seed, chosen.timeout)
    for outcome, count in outcomes.most_common():
        print(f"{count:6} {outcome}")
    return int(set(outcomes) != {"as expected"})


if __name__ == "__main__":
    sys.exit(main())
