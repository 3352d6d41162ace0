"""POST /v1/embeddings and GET /v1/models, through the clients that people use."""

import base64

import httpx
import msgspec
import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings

from runtime.api.openai import OPENAI_ERRORS
from runtime.http.errors import ApiError

TEXTS = ["a rustic barn with string lights", "wildflower bouquet", "a black-tie ballroom"]
MODEL = "sentence-bert-v1"


@pytest.fixture(scope="module")
def shared_openai_client(shared_server):
    return openai.OpenAI(base_url=f"{shared_server.url}/v1", api_key="none", max_retries=0)


def own(server, text):
    return server.client.post("/embed", json={"text": text}).json()


def post(server, **body):
    return server.client.post("/v1/embeddings", json={"model": MODEL, **body})


def ids(encoder, text):
    return encoder.tokenize(text).ids.tolist()


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_the_official_client_gets_the_vectors_of_embed(shared_server, shared_openai_client, encoding):
    """Left alone the client asks for base64 and decodes it."""
    answer = shared_openai_client.embeddings.create(model=MODEL, input=TEXTS, user="someone", **encoding)
    assert [one.index for one in answer.data] == [0, 1, 2]
    for one, text in zip(answer.data, TEXTS, strict=True):
        vector = one.embedding
        if isinstance(vector, str):
            vector = np.frombuffer(base64.b64decode(vector), "<f4").tolist()
        assert vector == own(shared_server, text)["embedding"]
    tokens = sum(own(shared_server, text)["tokens"] for text in TEXTS)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.model) == (tokens, tokens, MODEL)


def test_every_form_of_input_gives_the_same_vector(shared_server, encoder):
    expected = own(shared_server, TEXTS[0])["embedding"]
    for given in (TEXTS[0], f"  {TEXTS[0]}\n", [TEXTS[0]], ids(encoder, TEXTS[0]), [ids(encoder, TEXTS[0])]):
        (one,) = post(shared_server, input=given).json()["data"]
        assert one["embedding"] == expected
    several = post(shared_server, input=[ids(encoder, text) for text in TEXTS]).json()
    assert [one["embedding"] for one in several["data"]] == [own(shared_server, text)["embedding"] for text in TEXTS]


@pytest.mark.parametrize("dimensions", [1, 64, 383, 384])
def test_fewer_dimensions_are_the_first_ones_at_unit_length(shared_server, shared_openai_client, dimensions):
    (one,) = shared_openai_client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=dimensions).data
    whole = np.array(own(shared_server, TEXTS[0])["embedding"], np.float64)
    expected = whole[:dimensions] / np.linalg.norm(whole[:dimensions])
    np.testing.assert_allclose(one.embedding, expected, atol=1e-6)
    assert abs(np.linalg.norm(one.embedding) - 1) < 1e-6


def test_truncation_is_reported(shared_server):
    answer = post(shared_server, input=["short", "garden " * 300]).json()
    assert [(one["tokens"], one["truncated"]) for one in answer["data"]] == [(3, False), (302, True)]
    assert answer["usage"]["prompt_tokens"] == 3 + 256  # what was read


def test_models(shared_openai_client):
    (model,) = shared_openai_client.models.list().data
    assert (model.id, model.object) == (MODEL, "model")
    for name in (MODEL, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert shared_openai_client.models.retrieve(name) == model
        assert shared_openai_client.embeddings.create(model=name, input="a").model == MODEL


def test_the_client_raises_its_own_errors(shared_openai_client):
    with pytest.raises(openai.NotFoundError) as missing:
        shared_openai_client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert MODEL in missing.value.message
    with pytest.raises(openai.NotFoundError):
        shared_openai_client.models.retrieve("text-embedding-3-small")
    with pytest.raises(openai.BadRequestError) as blank:
        shared_openai_client.embeddings.create(model=MODEL, input=["a", "\u200b"])
    assert (blank.value.param, blank.value.type) == ("input[1]", "invalid_request_error")


VALID = [101, 1037, 102]

BAD = [
    ({"input": ""}, 400, "input"),
    ({"input": []}, 400, "input"),
    ({"input": ["a"] * 2049}, 400, "input"),
    ({"input": "a" * 70_000}, 400, "input"),
    ({"input": ["a", 1]}, 400, "input"),
    ({"input": [VALID, "a"]}, 400, "input"),
    ({"input": [[]]}, 400, "input[0]"),
    ({"input": [VALID, [101, 30_522, 102]]}, 400, "input[1]"),
    ({"input": [101, -1, 102]}, 400, "input"),
    ({"input": [101, 10**30, 102]}, 400, "input"),
    ({"input": [1037]}, 400, "input"),
    ({"input": [[1037, 2003, 9]]}, 400, "input[0]"),
    ({"input": [[101] * 256 + [102]]}, 400, "input[0]"),
    ({"input": [101] * 256 + [102]}, 400, "input"),
    ({"input": {"text": "a"}}, 400, "input"),
    ({"input": [True]}, 400, "input[0]"),
    ({}, 400, None),
    ({"input": "a", "model": 3}, 400, "model"),
    ({"input": "a", "dimensions": 0}, 400, "dimensions"),
    ({"input": "a", "dimensions": 385}, 400, "dimensions"),
    ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format"),
    ({"input": "a", "model": "gpt-x"}, 404, "model"),
]


@pytest.mark.parametrize(("body", "status", "param"), BAD, ids=range(len(BAD)))
def test_bad_requests_are_refused_in_openais_shape(shared_server, body, status, param):
    answer = post(shared_server, **body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert error["message"]


def test_other_errors_have_openais_shape_too(shared_server):
    answers = {
        400: shared_server.client.post("/v1/embeddings", content=b"{"),
        413: shared_server.client.post("/v1/embeddings", content=b"[" + b"1," * 200_000 + b"1]"),
        415: shared_server.client.post("/v1/embeddings", content=b"{}", headers={"content-type": "text/plain"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    status, body = OPENAI_ERRORS.render(ApiError(503, "overloaded", "try again"))
    assert (status, body.error.type) == (503, "server_error")


def test_the_largest_batch_of_token_ids(shared_server, encoder):
    one = ids(encoder, "garden " * 254)
    assert len(one) == 256
    answer = post(shared_server, input=[[*one[:-2], 1000 + n, one[-1]] for n in range(256)], encoding_format="base64")
    assert answer.status_code == 200, answer.text
    assert len({one["embedding"] for one in answer.json()["data"]}) > 250


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_two_thousand_inputs_in_one_request_are_answered_in_order(shared_server, encoding):
    """The number that clients of OpenAI's API send; sixteen different texts, so that most come from the cache."""
    texts = [f"venue number {n % 16}" for n in range(2048)]
    answer = post(shared_server, input=texts, encoding_format=encoding)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [one["index"] for one in data] == list(range(2048))
    alone = [post(shared_server, input=text, encoding_format=encoding).json()["data"][0] for text in texts[:16]]
    assert [one["embedding"] for one in data] == [alone[n % 16]["embedding"] for n in range(2048)]


def test_an_answer_that_can_never_fit_is_refused_for_good(start_server):
    server = start_server(body_budget_bytes=1 << 20, max_body_bytes=1 << 20)
    answer = post(server, input=["a"] * 2048)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "VOWS_BODY_BUDGET_BYTES" in answer.json()["error"]["message"]
    assert post(server, input=["a"] * 256).status_code == 200


def test_white_space_is_taken_and_what_cannot_be_seen_is_not(shared_server):
    for blank in (" ", "\n\t", "\u00a0\u3000"):
        assert post(shared_server, input=["a", blank]).status_code == 200
    for invisible in ("\u200b", " \ufeff ", "\u00ad", "\u0301"):
        assert post(shared_server, input=["a", invisible]).json()["error"]["param"] == "input[1]"


def test_langchain(shared_server):
    """`check_embedding_ctx_length=False` makes it send text; otherwise it sends the ids of OpenAI's tokenizer."""
    embeddings = OpenAIEmbeddings(
        model=MODEL, base_url=f"{shared_server.url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    assert embeddings.embed_documents(TEXTS) == [own(shared_server, text)["embedding"] for text in TEXTS]
    assert embeddings.embed_query(TEXTS[1]) == own(shared_server, TEXTS[1])["embedding"]


def test_the_ids_of_openais_tokenizer_are_refused_with_the_way_out(shared_server):
    answer = post(shared_server, input=[[64, 47221, 292, 35410]])  # cl100k_base
    assert answer.status_code == 400
    assert "send text instead" in answer.json()["error"]["message"]


def test_clients_without_a_library(shared_server):
    raw = httpx.post(f"{shared_server.url}/v1/embeddings", content=b'{"input":"a","model":"all-MiniLM-L6-v2"}')
    assert raw.status_code == 200
    assert msgspec.json.decode(raw.content)["object"] == "list"
