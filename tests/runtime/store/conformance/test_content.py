import numpy as np
import pytest


def test_put_get_replace_delete(open_store, item):
    clock = iter([10, 20])
    store = open_store(clock_us=lambda: next(clock))
    assert store.put_content([item("barn", 1), item("hall", 2)]) == ["created", "created"]
    new = item("barn", 3, bundle="bundle-2", fields=b"{}")
    assert store.put_content([new]) == ["replaced"]
    found = store.get_content("barn")
    np.testing.assert_array_equal(found.embedding, new.embedding)
    assert (found.fields, found.bundle_digest, found.tokens, found.truncated) == (b"{}", "bundle-2", 7, False)
    assert (found.created_us, found.updated_us, found.popularity) == (10, 20, 0)
    assert [content.id for content in store.get_contents(["hall", "nowhere", "barn", "hall"])] == [
        "hall",
        "barn",
        "hall",
    ]
    assert store.delete_content("barn") is True
    assert store.delete_content("barn") is False
    assert store.get_content("barn") is None
    assert store.counts().content == 1


def test_ids_are_opaque(store, item, event):
    ids = ["'; DROP TABLE content; --", "%_*?", "é\N{BRIDE WITH VEIL}", "a\x00b", "../../etc/passwd", "x" * 256]
    store.put_content([item(id, seed) for seed, id in enumerate(ids)])
    for id in ids:
        assert store.get_content(id).id == id
        assert store.add_interactions([event(id, user=id, content=id)]) == ["stored"]
        assert store.get_user(id).interaction_count == 1
    assert store.counts().content == len(ids)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(3, np.float32), r"float32 \(3,\), expected float32 \(4,\)"),
        (np.zeros(4, np.float64), "float64"),
        (np.array([0, np.nan, 0, 0], np.float32), "not a finite number"),
    ],
)
def test_a_vector_that_cannot_be_used_is_refused_before_anything_is_written(store, item, bad, message):
    with pytest.raises(ValueError, match=message):
        store.put_content([item("fine"), item("bad", embedding=bad)])
    assert store.counts().content == 0


def test_vectors_come_in_chunks_and_only_of_the_bundle_asked_for(store, item):
    items = [item(f"item-{n}", n, bundle="old" if n % 3 == 0 else "new") for n in range(20)]
    store.put_content(items)
    store.delete_content("item-4")
    chunks = list(store.vectors("new", rows=5))
    assert [len(chunk.ids) for chunk in chunks] == [5, 5, 2]
    expected = {i.id: i.embedding.tolist() for i in items if i.bundle_digest == "new" and i.id != "item-4"}
    found = {id: row.tolist() for chunk in chunks for id, row in zip(chunk.ids, chunk.embeddings, strict=True)}
    assert found == expected
    assert list(store.vectors("unheard of")) == []


def test_vectors_of_another_bundle_are_found_until_they_are_put_again(store, item, preferences):
    store.put_content([item(f"item-{n}", n, bundle="old" if n % 2 else "new") for n in range(10)])
    store.put_preferences("ann", preferences(1, bundle="old"))
    rounds = 0
    while stale := store.content_of_other_bundles("new", limit=2):
        store.put_content([item(content.id, 99, bundle="new", fields=content.fields) for content in stale])
        rounds += 1
    assert rounds == 3
    assert sum(len(chunk.ids) for chunk in store.vectors("new")) == 10
    (found,) = store.preferences_of_other_bundles("new")
    assert (found.user_id, found.preferences.preferences) == ("ann", ["rustic", "outdoor"])
    store.put_preferences("ann", preferences(1, bundle="new"))
    assert store.preferences_of_other_bundles("new") == []


def test_popular_is_by_strength_and_ties_by_age(store, item, event):
    store.put_content([item(id, seed) for seed, id in enumerate(["a", "b", "c", "d"])])
    types = {"b": ["share"], "c": ["view", "save", "view"], "d": ["skip"], "a": ["view"]}
    store.add_interactions(
        [event(f"{id}{n}", content=id, type=type) for id, some in types.items() for n, type in enumerate(some)]
    )
    assert [(p.id, p.popularity) for p in store.popular(3)] == [("b", 5), ("c", 5), ("a", 1)]
    store.delete_content("b")
    assert [p.id for p in store.popular(10)] == ["c", "a", "d"]
    store.put_content([item("b", 1)])  # the log still knows what it was worth
    assert store.popular(1)[0].id == "b"


def test_embeddings_of_those_that_are_there(store, item, event):
    items = [item(f"item-{n}", n) for n in range(150)]
    store.put_content(items)
    store.put_content([item("gone")])
    store.add_interactions([event("1", content="gone")])
    store.delete_content("gone")
    asked = ["item-149", "nowhere", "gone", *(f"item-{n}" for n in range(140)), "item-0"]
    found = store.embeddings(asked)
    assert set(found) == {"item-149", *(f"item-{n}" for n in range(140))}
    for one in items[:140]:
        np.testing.assert_array_equal(found[one.id], one.embedding)
    assert store.embeddings([]) == {}


def test_hidden_content_is_not_among_the_vectors_and_stays_hidden_when_replaced(open_store, item):
    store = open_store()
    store.put_content([item("barn"), item("hall", 1)])
    assert store.hide_content("barn", True)
    assert store.put_content([item("barn", 2)]) == ["replaced"]
    assert (store.get_content("barn").hidden, store.get_content("hall").hidden) == (True, False)
    assert [id for stored in store.vectors("bundle-1") for id in stored.ids] == ["hall"]
    assert store.delete_content("barn")
    store.put_content([item("barn")])
    assert not store.get_content("barn").hidden
    assert not store.hide_content("nowhere", True)
