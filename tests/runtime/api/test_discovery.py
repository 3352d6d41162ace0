"""Paging, ids that are left out, and filters of which one is enough: in search, similar items, recommendations."""

import pytest

ITEMS = [
    {"id": f"disc-{n}", "text": f"a venue of kind {n}", "tags": [f"t{n % 3}", f"u{n % 2}"],
     "vendor_name": f"Vendor {n % 4}", "category": ("venue", "florist", "band")[n % 3]}
    for n in range(24)
]  # fmt: skip


@pytest.fixture(scope="module")
def client(start_server):
    client = start_server().client
    assert client.post("/content/batch", json=ITEMS).json()["stored"] == 24
    client.post("/interactions", json={"user_id": "ada", "content_id": "disc-5", "type": "view"})
    return client


def ask(client, way, **options):
    """The answer of one of the three, with the body's names for what is filtered."""
    if way == "search":
        filters = {name: options.pop(name) for name in ("tags", "any_tags", "vendor", "category") if name in options}
        return client.post("/search", json={"text": "a venue", "filters": filters, **options})
    names = {"tags": "tag", "any_tags": "any_tag", "exclude": "exclude_id"}
    path = "/content/disc-0/similar" if way == "similar" else f"/user/ada/recommendations?model={way}"
    query = "&".join(
        f"{names.get(name, name)}={one}"
        for name, value in options.items()
        for one in (value if isinstance(value, list) else [value])
    )
    return client.get(path + ("&" if "?" in path else "?") + query)


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["results"]]


WAYS = ["search", "similar", "simple", "hybrid"]


@pytest.mark.parametrize("way", WAYS)
def test_pages_are_the_list_cut(client, way):
    whole = ask(client, way, top_k=100)
    every = ids(whole)
    assert len(every) == whole.json()["matched"] >= 22
    for size in (1, 5, 24):
        pages = [ids(ask(client, way, top_k=size, offset=start)) for start in range(0, 30, size)]
        assert [id for page in pages for id in page] == every
    assert ask(client, way, top_k=5, offset=900).json() | {"tokens": 0} == whole.json() | {"results": [], "tokens": 0}


@pytest.mark.parametrize("way", WAYS)
def test_excluded_ids_are_out(client, way):
    every = ids(ask(client, way, top_k=100))
    out = [every[0], every[3], "never-stored"]
    assert ids(ask(client, way, top_k=100, exclude=out)) == [id for id in every if id not in out]
    assert len(ids(ask(client, way, top_k=5, exclude=out))) == 5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"any_tags": ["t0", "t2"]}, lambda n: n % 3 in (0, 2)),
        ({"any_tags": ["t0", "none"], "tags": ["u1"]}, lambda n: n % 3 == 0 and n % 2 == 1),
        ({"vendor": ["Vendor 1", "VENDOR  3"]}, lambda n: n % 4 in (1, 3)),
        ({"vendor": "Vendor 2"}, lambda n: n % 4 == 2),
        ({"category": ["band", "florist"], "vendor": ["Vendor 0"]}, lambda n: n % 3 and n % 4 == 0),
        ({"tags": ["t0", "u0"]}, lambda n: n % 6 == 0),
        ({"any_tags": ["none"]}, lambda n: False),
        ({"category": []}, lambda n: True),
    ],
)
def test_filters_of_which_one_is_enough(client, way, filters, passes):
    every = ids(ask(client, way, top_k=100))
    assert set(ids(ask(client, way, top_k=100, **filters))) == {id for id in every if passes(int(id[5:]))}


def test_limits(client):
    for options, field in (({"offset": -1}, "offset"), ({"offset": 901}, "offset"), ({"offset": "x"}, "offset")):
        answer = client.get("/content/disc-0/similar", params=options)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    answer = client.get("/user/ada/recommendations", params={"offset": 3, "diversity": 0.5})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "offset")
    answer = client.post("/search", json={"text": "x", "exclude": ["a"] * 1001})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$.exclude")
    answer = client.get("/user/ada/recommendations", params={"exclude": "saved,liked"})
    assert "'liked' is not one of saved, shared, skipped, viewed" in answer.json()["error"]["message"]


def test_a_users_events_alone(client):
    sent = [{"user_id": user, "content_id": f"disc-{n}", "type": "save", "event_id": f"{user}-{n}"}
            for n in range(9) for user in ("eva", "fay")]  # fmt: skip
    assert client.post("/interactions", json=sent).json()["stored"] == 18
    lines = client.get("/events/export", params={"user_id": "eva"}).text.splitlines()
    assert [f'"event_id":"eva-{n}"' in line for n, line in enumerate(lines)] == [True] * 9
    paged = client.get("/events/export", params={"user_id": "eva", "limit": 4}).text.splitlines()
    assert paged == lines[:4]
    after = int(paged[-1].partition('"sequence":')[2].partition(",")[0])
    assert client.get("/events/export", params={"user_id": "eva", "after": after}).text.splitlines() == lines[4:]
    assert client.get("/events/export", params={"user_id": "nobody"}).text == ""
    assert client.get("/events/export", params={"user_id": "x" * 300}).status_code == 422


def test_what_is_popular_is_popular_now(start_server):
    """Twenty old favourites against twenty of today, and the half-life that decides."""
    items = [{"id": f"old-{n}", "text": f"an oak barn with hay number {n}"} for n in range(20)]
    items += [{"id": f"new-{n}", "text": f"a yacht at sea number {n}"} for n in range(20)]
    data = None
    for hours, expected in ((720, "new"), (8760, "old")):
        server = start_server(data, popularity_half_life_hours=hours)
        client = server.client
        if data is None:
            client.post("/content/batch", json=items)
            old = [{"user_id": f"u{n}-{m}", "content_id": f"old-{n}", "type": "share",
                    "timestamp": f"2025-{1 + m:02d}-01T00:00:00Z"} for n in range(20) for m in range(12)]  # fmt: skip
            new = [{"user_id": f"v{n}", "content_id": f"new-{n}", "type": "save"} for n in range(20)]
            assert client.post("/interactions", json=old + new).json()["stored"] == 260
        for _ in range(2):
            newcomer = client.get("/user/newcomer/embedding").json()
            assert newcomer["source"] == "popular"
            ranked = client.post("/rank", json={"embedding": newcomer["embedding"], "candidates": ["old-1", "new-1"]})
            assert ranked.json()["ranked"][0]["id"].startswith(expected)
            data = server.data_dir
            server.stop()
            server = start_server(data, popularity_half_life_hours=hours)
            client = server.client
        server.stop()


@pytest.mark.parametrize("hours", ["0", "12", "-1"])
def test_other_half_lives_are_refused(hours):
    from runtime.environment import read_settings
    from runtime.setting_fields import SettingsError

    with pytest.raises(SettingsError):
        read_settings({"VOWS_POPULARITY_HALF_LIFE_HOURS": hours})
