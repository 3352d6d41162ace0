"""What a read costs, counted in steps of SQLite's machine, and which statements a write runs."""

from runtime.store import Exposure
from runtime.store.sqlite import catalog_log, user_tables
from runtime.store.sqlite.connection import open_reader


def test_counts_and_states_cost_the_same_for_any_history(store, item, event):
    store.put_content([item("barn")])
    store.add_interactions([event(f"few-{n}", user="few") for n in range(10)])
    store.add_interactions([event(f"many-{n}", user="many") for n in range(5000)])
    reader = open_reader(store.path)

    def instructions(read):
        steps = 0

        def step():
            nonlocal steps
            steps += 1

        reader.set_progress_handler(step, 1)
        read()
        reader.set_progress_handler(None, 0)
        return steps

    few = instructions(lambda: user_tables.get(reader, "few", 4, 0))
    assert few == instructions(lambda: user_tables.get(reader, "many", 4, 0))
    assert few < 100
    reader.close()


def _shown(ranking_id):
    return Exposure(
        ranking_id=ranking_id, user_id="ann", experiment="feed", period=1, arm="control", model_version="v", time_us=1,
        items=b'[["barn",1.0]]', closes_us=2, bucket_us=1,
    )  # fmt: skip


def _looked_for(store, event):
    """Whether exposures, and marks of deleted events, were looked for while an event was stored."""
    said = []
    store.writer._connection.set_trace_callback(said.append)
    assert store.add_interactions([event]) == ["stored"]
    store.writer._connection.set_trace_callback(None)
    return [any(f"FROM {table}" in statement for statement in said) for table in ("exposures", "tombstones")]


def test_an_event_pays_for_experiments_and_deletions_only_where_there_are_some(open_store, item, event):
    store = open_store()
    store.put_content([item("barn")])
    assert _looked_for(store, event("first")) == [False, True]  # once after the start
    assert _looked_for(store, event("second")) == [False, False]
    store.add_exposures([_shown("r-1")])
    assert _looked_for(store, event("third", time_us=2_000_000)) == [True, False]
    store.delete_interaction("second")
    assert store.add_interactions([event("second")]) == ["deleted"]
    assert _looked_for(store, event("fourth")) == [True, True]
    store.close()
    again = open_store()
    assert _looked_for(again, event("fifth")) == [True, True]  # what earlier runs have shown and deleted
    assert again.add_interactions([event("second")]) == ["deleted"]
    logged, _ = again.log(after=0, limit=9)
    assert [one.ranking_id for one in logged] == [None, "r-1", "r-1", "r-1"]


def test_what_did_not_change_is_counted_without_reading_the_content(store, item):
    """Which of a million items took three seconds of each start."""
    digest = item("any").bundle_digest

    def counted():
        steps = 0

        def step():
            nonlocal steps
            steps += 1

        reader = open_reader(store.path)
        reader.set_progress_handler(step, 1)
        unchanged = catalog_log._unchanged(reader, digest)
        reader.close()
        return unchanged, steps

    store.put_content([item(f"few-{n}") for n in range(10)])
    few, few_steps = counted()
    store.put_content([item(f"many-{n}") for n in range(990)])
    many, many_steps = counted()
    assert (few, many) == (10, 1_000)
    assert many_steps - few_steps < 4 * 990  # of the index of bundles
