import itertools

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


def test_vectors_come_in_chunks_and_only_of_the_requested_bundle(store, item):
    items = [item(f"item-{n}", n, bundle="old" if n % 3 == 0 else "new") for n in range(20)]
    store.put_content(items)
    store.delete_content("item-4")
    chunks = list(store.vectors("new", rows=5))
    assert [len(chunk.ids) for chunk in chunks] == [5, 5, 2]
    expected = {i.id: i.embedding.tolist() for i in items if i.bundle_digest == "new" and i.id != "item-4"}
    found = {id: row.tolist() for chunk in chunks for id, row in zip(chunk.ids, chunk.embeddings, strict=True)}
    assert found == expected
    assert list(store.vectors("unheard of")) == []


def test_vectors_of_another_bundle_are_found_page_by_page_and_replaced(store, item, preferences):
    store.put_content([item(f"item-{n}", n, bundle="old" if n % 2 else "new") for n in range(10)])
    store.put_preferences("ann", preferences(1, bundle="old"))
    after, pages = 0, []
    while after is not None:
        stale, after = store.content_of_other_bundles("new", after=after, limit=2)
        pages.append([content.id for content in stale])
        assert store.replace_vectors([item(one.id, 99, bundle="new") for one in stale]) == [True] * len(stale)
    assert pages == [["item-1", "item-3"], ["item-5", "item-7"], ["item-9"]]
    assert store.content_of_other_bundles("new") == ([], None)
    assert sum(len(chunk.ids) for chunk in store.vectors("new")) == 10
    (found,), following = store.preferences_of_other_bundles("new")
    assert (found.user_id, found.preferences.preferences, following) == ("ann", ["rustic", "outdoor"], None)
    assert store.replace_preference_vector("ann", preferences(1, bundle="new"))
    assert store.preferences_of_other_bundles("new") == ([], None)


def test_a_page_of_another_bundle_ends_where_its_items_are_long(store, item):
    store.put_content([item(f"item-{n}", bundle="old", fields=b'{"text":"%s"}' % (b"x" * 1000)) for n in range(5)])
    page, following = store.content_of_other_bundles("new", limit=5, max_bytes=2500)
    assert [one.id for one in page] == ["item-0", "item-1"]
    assert [one.id for one in store.content_of_other_bundles("new", after=following)[0]] == [
        "item-2",
        "item-3",
        "item-4",
    ]


@pytest.mark.parametrize("since", ["put", "deleted", "deleted and put", "hidden", "nothing"])
def test_a_new_vector_changes_an_item_only_if_its_text_is_the_one_embedded(open_store, item, since):
    clock = itertools.count(10, 10)
    store = open_store(clock_us=lambda: next(clock))
    store.put_content([item("barn", 1, bundle="old", fields=b'{"text":"read"}')])
    match since:
        case "put":
            store.put_content([item("barn", 2, bundle="new", fields=b'{"text":"newer"}')])
        case "deleted":
            store.delete_content("barn")
        case "deleted and put":
            store.delete_content("barn")
            store.put_content([item("barn", 2, bundle="old", fields=b'{"text":"newer"}')])
        case "hidden":
            store.hide_content("barn", True)
    before = store.get_content("barn")
    fits = since in ("hidden", "nothing")
    new = item("barn", 3, bundle="new", fields=b'{"text":"read"}')
    assert store.replace_vectors([new]) == [fits]
    after = store.get_content("barn")
    if not fits:
        assert (after is None) == (before is None)
        assert after is None or (after.fields, after.bundle_digest) == (before.fields, before.bundle_digest)
        return
    np.testing.assert_array_equal(after.embedding, new.embedding)
    assert (after.bundle_digest, after.hidden, after.updated_us) == ("new", before.hidden, before.updated_us)


@pytest.mark.parametrize("since", ["put", "deleted", "deleted and put", "nothing"])
def test_a_new_vector_of_preferences_never_brings_a_user_back(store, preferences, since):
    store.put_preferences("ann", preferences(1, bundle="old"))
    if since.startswith("deleted"):
        store.delete_user("ann")
    if since.endswith("put"):
        store.put_preferences("ann", preferences(2, texts=["by the sea"]))
    assert store.replace_preference_vector("ann", preferences(3, bundle="new")) == (since == "nothing")
    found = store.get_preferences("ann")
    assert store.counts().users == (since != "deleted")
    assert (None if found is None else found.bundle_digest) == {"nothing": "new", "deleted": None}.get(
        since, "bundle-1"
    )


def test_users_become_stale_by_a_new_vector(store, item, event):
    store.put_content([item("barn", 1, bundle="old")])
    store.add_interactions([event("1")])
    assert store.replace_vectors([item("barn", 2, bundle="new")]) == [True]
    assert store.get_user("ann").stale


def test_what_is_unchanged_is_found_without_reading_fields(store, item):
    store.put_content([item("barn", 1), item("hall", 2, bundle="old"), item("tent", 3)])
    asked = [("barn", b'{"text":"barn"}'), ("hall", b'{"text":"barn"}'), ("tent", b"{}"), ("nowhere", b"{}")]
    found = store.unchanged(asked, "bundle-1")
    assert {id: (one.tokens, one.truncated, one.model_version) for id, one in found.items()} == {
        "barn": (7, False, "v1")
    }


def test_ids_without_room_are_hidden_or_of_another_bundle(store, item):
    store.put_content([item("a"), item("b", bundle="old"), item("c"), item("d", bundle="old")])
    store.hide_content("c", True)
    first = store.ids_without_room("bundle-1", limit=2)
    assert [id for _, id in first] == ["b", "c"]
    assert [id for _, id in store.ids_without_room("bundle-1", after=first[-1][0])] == ["d"]


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
