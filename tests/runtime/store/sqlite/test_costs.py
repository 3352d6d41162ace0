"""What a read costs, counted in steps of SQLite's machine."""

from runtime.store.sqlite import user_tables
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
