"""What counts as text, in every field that takes one: invisible text, words the model does not know, spellings."""

import json

import pytest

# White space aside: format and control characters, an accent that stands on nothing, a private one, a replaced one.
INVISIBLE = [
    "\u200b",
    "\u200b \u2060",
    "\ufeff",
    "\u00ad",
    "\x07",
    "\u0301",
    "\ue000",
    "\ufffd",
    "\u2028",
    "\u202e\u202c",
]


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_text_that_cannot_be_seen_is_refused_in_every_field(shared_server, text):
    ask = shared_server.client
    refused = {
        "$": [
            ask.post("/embed", json={"text": text}),
            ask.post("/embed", json={"title": text, "tags": [text]}),
            ask.put("/content/invisible", json={"description": text, "vendor_name": text}),
        ],
        "$.items[1]": [ask.post("/embed/batch", json={"items": [{"text": "a"}, {"text": text}]})],
        "$.text": [ask.post("/search", json={"text": text})],
        "$.preferences": [ask.put("/user/invisible/preferences", json={"preferences": [text, text]})],
    }
    for field, answers in refused.items():
        for answer in answers:
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    items = [{"id": "visible", "text": "a"}, {"id": "invisible", "text": text}]
    batch = ask.post("/content/batch", json=items).json()
    assert [one["status"] for one in batch["results"]] == [batch["results"][0]["status"], "rejected"]
    lines = "\n".join(json.dumps(item) for item in items)
    ndjson = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}
    stream = ask.post("/content/batch", content=lines, headers=ndjson).text.splitlines()
    assert [json.loads(line).get("line") for line in stream] == [2, None]


def test_an_invisible_field_is_as_if_it_was_not_given(shared_server):
    def embed(**fields):
        return shared_server.client.post("/embed", json=fields).json()

    hidden = embed(title="\u200b", text="More.", vendor_name="Oak Farm", tags=["\u2060"])
    assert hidden["embedding"] == embed(text="More.", vendor_name="Oak Farm")["embedding"]
    assert hidden["used"] == ["text", "vendor_name"]


def test_words_that_the_model_does_not_know_are_counted(shared_server):
    ask = shared_server.client
    before = _unknown(shared_server)
    thai = [ask.post("/embed", json={"text": text}).json() for text in ("สวนดอกไม้", "ร้านอาหาร")]
    assert [(one["tokens"], one["unknown_tokens"]) for one in thai] == [(3, 1), (3, 1)]
    assert _unknown(shared_server) == before + 2
    fields = {"text": "a barn 😀 " + "x" * 101}
    embedded = ask.post("/embed", json=fields)
    assert embedded.json()["unknown_tokens"] == 2
    rows = ask.post("/embed", json=fields, headers={"accept": "application/octet-stream"})
    assert (rows.headers["x-tokens"], rows.headers["x-unknown-tokens"]) == ("6", "2")
    batch = ask.post("/embed/batch", json={"items": [fields, {"text": "a barn"}]}).json()
    assert [one["unknown_tokens"] for one in batch["results"]] == [2, 0]
    for status in ("created", "unchanged"):
        put = ask.put("/content/unknown-words", json=fields).json()
        assert (put["status"], put["unknown_tokens"]) == (status, 2)
    assert ask.post("/search", json=fields).json()["unknown_tokens"] == 2
    stored = ask.put("/user/unknown-words/preferences", json={"preferences": ["😀", "barns"]}).json()
    assert stored["unknown_tokens"] == 1
    assert ask.delete("/user/unknown-words").status_code == 200
    both = ask.post("/v1/embeddings", json={"model": "sentence-bert-v1", "input": ["😀", "a"]}).json()["data"]
    assert [one["unknown_tokens"] for one in both] == [1, 0]


SPELLINGS = [
    ("Café Müller", "Cafe\u0301 Mu\u0308ller"),
    ("Café Müller", "CAFÉ  MÜLLER"),
    ("fine dining", "ﬁne dining"),
    ("rustic", "𝓻𝓾𝓼𝓽𝓲𝓬"),
    ("rustic", "ru\u00adstic\u200b"),
    ("ガーデン", "ｶﾞｰﾃﾞﾝ"),
    ("straße", "STRASSE"),
    ("각", "\u1100\u1161\u11a8"),
    ("ᾳ", "ΑΙ"),
]


@pytest.mark.parametrize(("stored", "asked"), SPELLINGS)
def test_filters_find_other_spellings_of_the_same(start_once, stored, asked):
    ask = start_once.client
    for one, other in ((stored, asked), (asked, stored)):
        item = {"text": "a barn", "category": one, "vendor_name": one, "tags": [one]}
        assert ask.put("/content/spelled", json=item).status_code == 200
        for filters in ({"category": other}, {"vendor": other}, {"tags": [other]}):
            found = ask.post("/search", json={"text": "barn", "filters": filters}).json()
            assert found["matched"] == 1, filters
    assert ask.post("/search", json={"text": "barn", "filters": {"category": "another"}}).json()["matched"] == 0


@pytest.fixture(scope="module")
def start_once(start_server):
    return start_server()


def _unknown(server):
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("vows_unknown_tokens_total ")).split()[1])
