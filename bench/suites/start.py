"""From the start of the process to the first answer."""

from bench.http_client import build_request
from bench.server import launched
from bench.suite import Case, Conditions, Metric, Samples, Suite, raw


def measure(conditions: Conditions, samples: Samples) -> None:
    """Start a server and request an embedding until it returns one, several times; files are in the page cache.

    The first start is left out: it compiles Python and fills the cache.
    """
    request = build_request("POST", "/embed", {"type": "content", "text": "a rustic barn for a summer wedding"})
    for number in range(1 + conditions.rounds(full=11, quick=2)):
        with launched(conditions) as server:
            seconds = server.first_answer(request)
            if number:
                samples.add("first_answer_s", seconds)


SUITE = Suite(
    name="start",
    purpose="process start to the first /embed answer",
    reading="From the start of the process to the first 200 of `/embed`; the files are in the page cache.",
    cases=(Case("warm page cache", measure),),
    metrics=(Metric("start.first_answer_s", "warm page cache", "s", "higher", raw("first_answer_s")),),
)
