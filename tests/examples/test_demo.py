"""The whole loop on real input: catalogue and journeys over HTTP to a real server, and rankings that change."""

import subprocess
import sys
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import pytest

from examples.wedding.client import Client, ServerError, own_server
from examples.wedding.demo import TOP, Stage, cosine, load, main, play_all
from examples.wedding.journeys import in_style, load_catalogue, load_journeys, mean_place

ROOT = Path(__file__).parents[2]
CATALOGUE = load_catalogue()
JOURNEYS = {journey.user_id: journey for journey in load_journeys()}
FORMAL = in_style(CATALOGUE, ["black tie", "ballroom", "classic"])


@pytest.fixture(scope="module")
def shared_client(shared_server_url: str) -> Client:
    client = Client(shared_server_url)
    load(client, CATALOGUE)
    return client


@pytest.fixture(scope="module")
def stages(shared_client: Client) -> dict[str, list[Stage]]:
    """Every couple's stages, by user id."""
    return play_all(shared_client, list(JOURNEYS.values()), CATALOGUE)


def place(stage: Stage, *tags: str) -> float:
    return mean_place(stage.ids, in_style(CATALOGUE, list(tags)))


def test_a_second_load_changes_nothing(shared_client: Client) -> None:
    assert load(shared_client, CATALOGUE) == {"unchanged": len(CATALOGUE)}


def test_every_couple_starts_with_popular_items(stages: dict[str, list[Stage]]) -> None:
    starts = [couple[0] for couple in stages.values()]
    assert {start.source for start in starts} == {"popular"}
    for start in starts[1:]:
        assert start.embedding == starts[0].embedding


def test_every_candidate_is_ranked_once_best_first(stages: dict[str, list[Stage]]) -> None:
    assert stages.keys() == JOURNEYS.keys()
    for user_id, couple in stages.items():
        assert couple
        for stage in couple:
            assert sorted(stage.ids) == sorted(JOURNEYS[user_id].unseen(CATALOGUE))
            scores = [score for _, score in stage.ranked]
            assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("user_id", JOURNEYS)
def test_unseen_items_of_the_couples_style_rise(user_id: str, stages: dict[str, list[Stage]]) -> None:
    """The style they end up with moves up by a quarter at least, into the upper third, and into the top five."""
    start, *_, end = stages[user_id]
    tags = next(iter(JOURNEYS[user_id].styles.values()))
    assert place(end, *tags) < 0.75 * place(start, *tags)
    assert place(end, *tags) < len(end.ids) / 3
    assert in_style(CATALOGUE, tags).intersection(end.ids[:TOP])


def test_who_saves_barns_ranks_barns_above_ballrooms(stages: dict[str, list[Stage]]) -> None:
    end = stages["demo-hannah-joel"][-1]
    ballrooms = in_style(CATALOGUE, ["ballroom"]) & in_style(CATALOGUE, ["venue"])
    best_ballroom = min(end.ids.index(id) for id in ballrooms.intersection(end.ids))
    assert end.ids.index("tillers-rest-barn") < best_ballroom
    assert place(end, "rustic") + 20 < mean_place(end.ids, FORMAL)


def test_who_saves_ballrooms_ranks_ballrooms_above_barns(stages: dict[str, list[Stage]]) -> None:
    end = stages["demo-eleanor-marcus"][-1]
    barns = in_style(CATALOGUE, ["barn"]).intersection(end.ids)
    best_barn = min(end.ids.index(id) for id in barns)
    assert max(end.ids.index("ashworth-assembly-rooms"), end.ids.index("opera-house-rotunda")) < best_barn
    assert mean_place(end.ids, FORMAL) + 20 < place(end, "rustic")


def test_a_coastal_couple_sees_the_sea_first(stages: dict[str, list[Stage]]) -> None:
    end = stages["demo-mei-tomas"][-1]
    assert len(in_style(CATALOGUE, ["coastal"]).intersection(end.ids[:TOP])) >= 4


def test_preferences_alone_bring_the_matching_style_first(stages: dict[str, list[Stage]]) -> None:
    start, end = stages["demo-anjali-tom"]
    assert end.source == "preferences"
    assert end.ids[0] in in_style(CATALOGUE, ["indian wedding"])
    assert len(in_style(CATALOGUE, ["indian wedding"]).intersection(end.ids[:TOP])) >= 4
    assert cosine(start.embedding, end.embedding) < 0.9


def test_history_replaces_preferences(stages: dict[str, list[Stage]]) -> None:
    assert [stage.source for stage in stages["demo-saoirse-ben"]] == ["popular", "preferences", "history"]


def test_a_ranking_follows_changing_interests(stages: dict[str, list[Stage]]) -> None:
    _, spring, autumn = stages["demo-camille-andre"]
    assert mean_place(spring.ids, FORMAL) + 20 < place(spring, "industrial")
    assert place(autumn, "industrial") < mean_place(autumn.ids, FORMAL)
    assert place(autumn, "industrial") + 20 < place(spring, "industrial")
    assert mean_place(autumn.ids, FORMAL) > mean_place(spring.ids, FORMAL) + 10
    assert cosine(spring.embedding, autumn.embedding) < 0.95


def test_couples_differ(stages: dict[str, list[Stage]]) -> None:
    assert len(stages) == len(JOURNEYS) > 1
    for one, other in combinations(stages.values(), 2):
        assert one[-1].ids[:TOP] != other[-1].ids[:TOP]
        assert cosine(one[-1].embedding, other[-1].embedding) < 0.9


def test_an_event_sent_again_changes_nothing(shared_client: Client, stages: dict[str, list[Stage]]) -> None:
    journey = JOURNEYS["demo-hannah-joel"]
    again = [event.interaction(journey.user_id, datetime.now(UTC)) for event in journey.events]
    with pytest.raises(ServerError, match="is that of another event, with a different timestamp"):
        shared_client.add_interactions(again)  # at other times; in the demo its couples are deleted first
    assert shared_client.embedding(journey.user_id) == stages[journey.user_id][-1].embedding


def test_the_program_shows_the_same_picture_twice(shared_server_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = []
    for _ in range(2):
        assert main(["--url", shared_server_url, "--no-experiments"]) == 0
        pictures.append(capsys.readouterr().out.split("\n", 1)[1])  # the first line counts created and unchanged items
    assert pictures[0] == pictures[1]
    for journey in JOURNEYS.values():
        assert f"{journey.name}: {journey.story}" in pictures[0]


def test_without_a_server_the_program_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:9"]) == 1
    assert "make run" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:port"])
def test_an_invalid_address_is_rejected(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url]) == 1
    assert url in capsys.readouterr().err


def test_a_rejected_request_is_reported_to_the_user(shared_client: Client) -> None:
    event = {"user_id": "demo-nobody", "content_id": "no-such-item", "type": "save", "event_id": "demo-nobody-01"}
    with pytest.raises(ServerError, match="demo-nobody-01"):
        shared_client.add_interactions([event])
    with pytest.raises(ServerError, match="no-such-item"):
        shared_client.rank("demo-nobody", ["no-such-item"])


def test_the_program_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "examples.wedding.demo", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--url" in done.stdout


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"VOWS_PORT": "9000"}, "http://127.0.0.1:9000"),
        ({"VOWS_HOST": "10.0.0.7", "PORT": "81"}, "http://10.0.0.7:81"),
        ({"VOWS_HOST": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ({"VOWS_HOST": "::"}, "http://[::1]:8080"),
    ],
)
def test_the_demo_finds_the_server_that_these_settings_start(environ: dict[str, str], address: str) -> None:
    assert own_server(environ) == address
