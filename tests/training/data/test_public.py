"""Loaders of public sets on small files of the same form, which the tests write: none of the sets is needed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data import public
from training.data.command import card
from training.data.events import ACTIONS, Dataset
from training.data.files import DataError
from training.data.public import completejourney, deskdrop, kuairand, movielens

START = datetime(2016, 3, 14, 13, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle_path: Path) -> None:
    monkeypatch.setenv("VOWS_CACHE_DIR", str(tmp_path / "cache"))


def did(dataset: Dataset) -> list[tuple[str, str, str]]:
    """(user, item, action) of every event; users by name, since loaders number them as they appear."""
    events = dataset.events
    rows = [
        (dataset.users[user], dataset.catalogue.ids[item], ACTIONS[action])
        for user, item, action in zip(events.user, events.item, events.action, strict=True)
    ]
    return sorted(rows, key=lambda row: row[0])


def test_deskdrop(tmp_path: Path) -> None:
    rows = [  # user, item, action, second, session, row in the source
        ("u1", "a", "like", 60, "s1", 3),
        ("u1", "a", "view", 60, "s1", 2),
        ("u1", "a", "view", 60, "s1", 4),  # an exact repeat
        ("u1", "b", "comment", 90, "s1", 5),
        ("u2", "b", "bookmark", 10, "s2", 1),
        ("u2", "c", "follow", 20, "s2", 6),
    ]
    names = ("user_id", "content_id", "action", "timestamp", "session_id", "source_row")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["timestamp"] = [START + timedelta(seconds=s) for s in columns["timestamp"]]  # type: ignore[arg-type]
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    pq.write_table(pa.table({"content_id": ["c", "a"], "title": ["Bitcoin", "Go"]}), tmp_path / "items.parquet")
    dataset = deskdrop.load(tmp_path)
    assert did(dataset) == [
        ("u1", "a", "view"),  # the source's order decides the tie
        ("u1", "a", "save"),
        ("u1", "b", "share"),
        ("u2", "b", "save"),
        ("u2", "c", "share"),
    ]
    assert dict(zip(dataset.catalogue.ids, dataset.catalogue.texts, strict=True)) == {
        "c": "Bitcoin",
        "a": "Go",
        "b": "",
    }
    assert len(set(dataset.events.session.tolist())) == 2


def test_kuairand(tmp_path: Path) -> None:
    rows = [
        ("u", "v1", "view", 1, 0, 500),
        ("u", "v1", "like", 1, 0, 500),
        ("u", "v2", "view", 2, 1, 80),
        ("u", "v2", "hate", 2, 1, 80),
        ("u", "v2", "like", 2, 1, 80),  # hated nevertheless
        ("u", "v3", "view", 3, 2, 10),
        ("w", "v1", "share", 1, 3, 10),
        ("w", "v1", "click", 1, 3, 10),
    ]
    names = ("user_id", "content_id", "action", "timestamp", "impression", "play_time_ms")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["timestamp"] = [START + timedelta(hours=h) for h in columns["timestamp"]]  # type: ignore[arg-type]
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    dataset = kuairand.load(tmp_path)
    assert did(dataset) == [("u", "v1", "save"), ("u", "v2", "skip"), ("u", "v3", "view"), ("w", "v1", "share")]
    assert dataset.events.duration_ms.tolist() == [500, 80, 10, 10]
    assert dataset.events.session.tolist() == [0, 1, 2, 3]


def test_movielens(tmp_path: Path) -> None:
    folder = tmp_path / "dataset_example" / "ml-100k"
    folder.mkdir(parents=True)
    (folder / "ml-100k.inter").write_text("head\n7\t2\t5\t20\n7\t1\t3\t10\n8\t1\t4\t5\n")
    (folder / "ml-100k.item").write_text('head\n1\tToy "Story\t1995\tAnimation Comedy\n2\tGoldenEye\t1995\tAction\n')
    dataset = movielens.load(tmp_path)
    assert did(dataset) == [("7", "1", "view"), ("7", "2", "share"), ("8", "1", "save")]
    assert dataset.catalogue.texts == ['Toy "Story (1995) Animation Comedy', "GoldenEye (1995) Action"]
    assert dataset.catalogue.category.tolist() == [0, 1]


def test_completejourney(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    products = {
        "product_id": [1, 2, 3], "product_type": ["MILK", "MILK", None], "product_category": ["DAIRY", "DAIRY", None],
        "department": ["GROCERY", "GROCERY", "MISC"],
    }  # fmt: skip
    pq.write_table(pa.table(products), tmp_path / "data" / "products.parquet")
    times = [START.replace(tzinfo=None) + timedelta(days=d) for d in (3, 3, 3, 1)]
    bought = {
        "household_id": [5] * 4,
        "basket_id": [11, 11, 11, 10],
        "product_id": [1, 2, 3, 1],
        "transaction_timestamp": times,
    }
    pq.write_table(pa.table(bought), tmp_path / "data" / "transactions.parquet")
    dataset = completejourney.load(tmp_path)
    milk, other = "MILK / DAIRY / GROCERY", " /  / MISC"
    assert did(dataset) == [("5", milk, "save"), ("5", milk, "save"), ("5", other, "save")]  # once a basket
    assert dataset.catalogue.texts == ["milk, dairy, grocery", "misc"]
    assert dataset.name in public.ONE_ACTION


def test_a_card_says_what_a_set_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(
        pa.table({"product_id": [1], "product_type": ["MILK"], "product_category": ["DAIRY"], "department": ["G"]}),
        tmp_path / "data" / "products.parquet",
    )
    bought = {"household_id": [5], "basket_id": [1], "product_id": [1], "transaction_timestamp": [datetime(2017, 1, 1)]}
    pq.write_table(pa.table(bought), tmp_path / "data" / "transactions.parquet")
    text = card(completejourney.load(tmp_path))
    assert "1 events, 1 users, 1 items (1 with text)" in text
    assert "licence: package MIT" in text
    assert text.count("limit: ") == 3


def test_a_set_that_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data-dir"):
        public.load("deskdrop", tmp_path)
    with pytest.raises(DataError, match="no set is called 'netflix'; there are deskdrop"):
        public.load("netflix", None)
