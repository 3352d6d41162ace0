"""Load a wedding catalogue into a running server, play a few couples' journeys and watch their top five move.

Everything goes over HTTP, with the standard library alone. The couples are deleted first and the same events are
played again, so a second run shows the same picture. Each couple ranks only items that they never meet in their
journey: a change in the ranking comes from their vector, not from items they have already clicked.
"""

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest

from examples.wedding import experiment
from examples.wedding.client import BATCH_ITEMS, Client, ServerError, own_server
from examples.wedding.journeys import Item, Journey, in_style, load_catalogue, load_journeys, mean_place

TOP = 5
MARKS = "*+"  # of a couple's first and second style
SOURCES = {"popular": "popular items", "preferences": "their preferences", "history": "their interactions"}


@dataclass(frozen=True)
class Stage:
    """A user at one moment: `ranked` holds (id, score) of all candidates, best first; `embedding` is a unit vector."""

    title: str
    source: str
    ranked: list[tuple[str, float]]
    embedding: list[float]

    @property
    def ids(self) -> list[str]:
        """Of the ranked items, best first."""
        return [id for id, _ in self.ranked]


def load(client: Client, catalogue: list[Item], progress: Callable[[int], None] = lambda done: None) -> Counter[str]:
    """Store the catalogue; how many items were created, replaced, unchanged. `progress` gets the number done."""
    outcomes: Counter[str] = Counter()
    for start in range(0, len(catalogue), BATCH_ITEMS):
        outcomes.update(client.put_items(catalogue[start : start + BATCH_ITEMS]))
        progress(min(start + BATCH_ITEMS, len(catalogue)))
    return outcomes


def look(client: Client, journey: Journey, catalogue: list[Item], title: str) -> Stage:
    """What the server would show this couple now."""
    source, ranked = client.rank(journey.user_id, journey.unseen(catalogue))
    return Stage(title, source, ranked, client.embedding(journey.user_id))


def play(client: Client, journey: Journey, catalogue: list[Item], now: datetime) -> list[Stage]:
    """Send the couple's preferences and then each chapter's events; the stage after each of them."""
    stages = []
    if journey.preferences:
        client.put_preferences(journey.user_id, list(journey.preferences))
        stages.append(look(client, journey, catalogue, "preferences at sign-up"))
    for chapter in journey.chapters:
        client.add_interactions([event.interaction(journey.user_id, now) for event in chapter.events])
        stages.append(look(client, journey, catalogue, chapter.title))
    return stages


def play_all(client: Client, journeys: list[Journey], catalogue: list[Item]) -> dict[str, list[Stage]]:
    """Every couple's stages by user id, the first one before anybody did anything.

    All are deleted and ranked before the first event: events make items popular, and that would show in the
    start of the couples that come later.
    """
    for journey in journeys:
        client.delete_user(journey.user_id)
    stages = {journey.user_id: [look(client, journey, catalogue, "start")] for journey in journeys}
    now = datetime.now(UTC)
    for journey in journeys:
        stages[journey.user_id] += play(client, journey, catalogue, now)
    return stages


def cosine(a: list[float], b: list[float]) -> float:
    """Cosine of two unit vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def story(journey: Journey, stages: list[Stage], catalogue: list[Item], width: int) -> str:
    """A couple's story as lines of at most `width` characters: one column a stage."""
    styles = {name: in_style(catalogue, tags) for name, tags in journey.styles.items()}
    gap = 3
    column = max(24, min(46, (width - 4 - gap * (len(stages) - 1)) // len(stages)))
    columns = [_column(stage, catalogue, list(styles.values()), column) for stage in stages]
    lines = [_fit(f"{journey.name}: {journey.story}", width), _fit(f"  {_deeds(journey)}", width), ""]
    numbers = ["", "", *(str(place) for place in range(1, TOP + 1))]
    for number, *cells in zip_longest(numbers, *columns, fillvalue=""):
        lines.append(f"{number:>3} {(' ' * gap).join(cell.ljust(column) for cell in cells)}".rstrip())
    lines += [
        "",
        "    " + _course("cosine to the start", [cosine(stages[0].embedding, s.embedding) for s in stages], ".2f"),
    ]
    for mark, (name, ids) in zip(MARKS, styles.items(), strict=False):
        count = f"{len(ids.intersection(stages[0].ids))} of {len(stages[0].ids)} items"
        places = [mean_place(stage.ids, ids) for stage in stages]
        lines.append("    " + _course(f"{mark} {name}, mean place of {count}", places, ".0f"))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m examples.wedding.demo") -> int:
    """The program: 0 when every journey was shown, 1 without a server or at its error, 2 for bad arguments."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        default=own_server(),
        help="address of the server (default: %(default)s, from VOWS_HOST and VOWS_PORT)",
    )
    parser.add_argument("--key", default="", help="API key, where the server asks for one")
    parser.add_argument("--no-experiments", action="store_true", help="leave out the experiments, which take a minute")
    options = parser.parse_args(arguments)
    try:
        client = Client(options.url, options.key)
        catalogue = _run(client, options.url)
        if not options.no_experiments:
            _experiment(client, catalogue, options.url)
        sys.stdout.flush()
    except ServerError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` say, has seen enough; without this the exit would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(client: Client, url: str) -> list[Item]:
    catalogue, journeys = load_catalogue(), load_journeys()
    client.check_ready()
    outcomes = load(client, catalogue, _progress_line(f"Loading {len(catalogue)} items into {url}"))
    print(f"Catalogue at {url}: " + ", ".join(f"{count} {status}" for status, count in sorted(outcomes.items())))
    print(f"Deleting {len(journeys)} couples, then playing their journeys from the start ...")
    stages = play_all(client, journeys, catalogue)
    width = shutil.get_terminal_size((112, 24)).columns
    print(
        f"\nEach column is a couple's top {TOP} among items that are not in their story: only the vector changes.\n"
        "The score is the cosine of the couple's vector and the item's. * and + mark styles named below each story.\n"
        "Weights: view 1, save 3, share 5, skip 0, fading with age. Where nobody has clicked anything yet, the first\n"
        "items of the catalogue stand for what is popular."
    )
    for journey in journeys:
        print(f"\n{'─' * min(width, 112)}\n{story(journey, stages[journey.user_id], catalogue, width)}")
    return catalogue


def _experiment(client: Client, catalogue: list[Item], url: str) -> None:
    print(f"\nExperiments with simulated couples, decided by the server; see {url}/page/experiments.html")
    for finished in experiment.run(client, catalogue):
        print(f"  {finished}")


def _progress_line(what: str) -> Callable[[int], None]:
    """Rewrites one line on a terminal; says nothing in a pipe, where the summary is enough."""
    if not sys.stdout.isatty():
        return lambda done: None
    return lambda done: print(f"\r{what}: {done}", end="\r", flush=True)


def _column(stage: Stage, catalogue: list[Item], styles: list[set[str]], width: int) -> list[str]:
    """Title and source, then a line for each of the top items."""
    items = {item["id"]: item for item in catalogue}
    lines = [_fit(stage.title, width), _fit(f"by {SOURCES.get(stage.source, stage.source)}", width)]
    for id, score in stage.ranked[:TOP]:
        mark = next((mark for mark, ids in zip(MARKS, styles, strict=False) if id in ids), " ")
        title, kind = items[id]["title"], items[id]["tags"][0]
        full = f"{title} ({kind})"
        lines.append(f"{score:.2f} {mark} {full if len(full) <= width - 7 else _fit(title, width - 7)}")
    return lines


def _course(what: str, values: list[float], form: str) -> str:
    return f"{what}: {' → '.join(format(value, form) for value in values)}"


def _deeds(journey: Journey) -> str:
    """Counted events: "9 events over 56 days: 2 view, 4 save"."""
    if not journey.events:
        return f"no clicks, {len(journey.preferences)} preferences: {'; '.join(journey.preferences)}"
    counts = Counter(event.type for event in journey.events)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("view", "save", "share", "skip") if counts[kind])
    days = journey.events[0].days_ago - journey.events[-1].days_ago
    return f"{len(journey.events)} events over {days:g} days: {kinds}"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


if __name__ == "__main__":
    sys.exit(main())
