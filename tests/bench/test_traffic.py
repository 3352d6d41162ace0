import itertools
import json
import re
from collections import Counter

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from bench.texts import WORDS, TextSource, load_tokenizer
from bench.traffic import MixedTraffic


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = {word: n for n, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS.split())])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer


@pytest.mark.parametrize("tokens", [3, 16, 256])
def test_texts_have_exactly_the_requested_number_of_tokens(tokenizer, tokens):
    for text in TextSource(tokenizer, seed=1).texts(tokens, 20):
        assert len(tokenizer.encode(text).ids) == tokens


def test_texts_differ_from_each_other_and_repeat_with_the_seed(tokenizer):
    texts = TextSource(tokenizer, seed=1).texts(16, 200)
    assert len(set(texts)) == 200
    assert TextSource(tokenizer, seed=1).texts(16, 200) == texts
    assert TextSource(tokenizer, seed=2).texts(16, 200) != texts


def test_a_text_too_short_for_one_word_is_rejected(tokenizer):
    with pytest.raises(ValueError, match="at least 3"):
        TextSource(tokenizer, seed=1).text(2)


def test_a_missing_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="vows-edge export minilm"):
        load_tokenizer(tmp_path)


def requests_of(tokenizer, seed, count):
    return list(itertools.islice(iter(MixedTraffic(TextSource(tokenizer, seed), seed)), count))


def test_the_same_seed_gives_the_same_bytes(tokenizer):
    assert requests_of(tokenizer, 5, 100) == requests_of(tokenizer, 5, 100)
    assert requests_of(tokenizer, 5, 100) != requests_of(tokenizer, 6, 100)


def test_mixed_traffic_requests_every_endpoint(tokenizer):
    lines = {
        re.sub(r"/(item|user)-\d+", r"/{\1}", checked.request.split(b" HTTP")[0].decode())
        for checked in requests_of(tokenizer, 1, 500)
    }
    assert lines >= {
        "POST /embed", "POST /embed/batch", "PUT /content/{item}", "GET /content/{item}", "DELETE /content/{item}",
        "POST /content/batch", "POST /interactions", "PUT /user/{user}/preferences", "GET /user/{user}/embedding",
        "DELETE /user/{user}", "POST /rank", "POST /rank?explain=true", "POST /search", "PATCH /content/{item}",
        "GET /content/{item}/similar?top_k=5", "GET /user/{user}/recommendations", "DELETE /interactions/never-stored",
        "GET /user/{user}/style?weeks=8&dislikes=true", "GET /healthz", "GET /readyz", "GET /info", "GET /openapi.json",
        "GET /docs",
    }  # fmt: skip


def test_the_expected_status_depends_on_what_was_stored(tokenizer):
    """A naive store replayed beside the stream agrees about every content request."""
    stored: set[str] = set()
    seen = Counter()
    for checked in requests_of(tokenizer, 3, 800):
        head, _, body = checked.request.partition(b"\r\n\r\n")
        method, path = head.split(b" ")[:2]
        content = path.decode().removeprefix("/content/")
        match checked.name:
            case "content put":
                assert checked.expected == {200}
                stored.add(content)
            case "content get" | "content delete":
                assert checked.expected == {404} if content not in stored else checked.expected <= {200, 204}
                if method == b"DELETE":
                    stored.discard(content)
            case "content/batch json":
                stored |= {item["id"] for item in json.loads(body)}
            case "content/batch ndjson":
                stored |= {json.loads(line)["id"] for line in body.splitlines()}
        seen[checked.name, *checked.expected] += 1
    kinds = [("content put", 200), ("content delete", 204), ("content delete", 404)]
    assert all(seen[kind] for kind in kinds)


def test_the_large_batch_is_32_texts_of_256_tokens(tokenizer):
    checked = MixedTraffic(TextSource(tokenizer, 1), 1).large_batch()
    items = json.loads(checked.request.partition(b"\r\n\r\n")[2])["items"]
    assert [len(tokenizer.encode(item["text"]).ids) for item in items] == [256] * 32
