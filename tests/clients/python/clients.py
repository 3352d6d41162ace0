"""Embeds through each client library as its documentation says: `clients.py URL CLIENT`, texts and vectors as JSON."""

import json
import sys
from collections.abc import Callable

MODEL = "sentence-bert-v1"


def with_openai(url: str, texts: list[str]) -> list[list[float]]:
    from openai import OpenAI

    answer = OpenAI(base_url=url, api_key="none").embeddings.create(model=MODEL, input=texts)
    return [one.embedding for one in answer.data]


def with_langchain(url: str, texts: list[str]) -> list[list[float]]:
    from langchain_openai import OpenAIEmbeddings

    # Left alone it sends the token ids of OpenAI's tokenizer, which no other model can read.
    client = OpenAIEmbeddings(model=MODEL, base_url=url, api_key="none", check_embedding_ctx_length=False)
    return client.embed_documents(texts)


def with_llama_index(url: str, texts: list[str]) -> list[list[float]]:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    client = OpenAILikeEmbedding(model_name=MODEL, api_base=url, api_key="none", embed_batch_size=2048)
    return client.get_text_embedding_batch(texts)


def with_litellm(url: str, texts: list[str]) -> list[list[float]]:
    import litellm

    answer = litellm.embedding(model=f"openai/{MODEL}", input=texts, api_base=url, api_key="none")
    return [one["embedding"] for one in answer.data]


def with_haystack(url: str, texts: list[str]) -> list[list[float]]:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder
    from haystack.utils import Secret

    client = OpenAIDocumentEmbedder(
        model=MODEL, api_base_url=url, api_key=Secret.from_token("none"), batch_size=512, progress_bar=False
    )
    return [one.embedding for one in client.run([Document(content=text) for text in texts])["documents"]]


CLIENTS: dict[str, Callable[[str, list[str]], list[list[float]]]] = {
    "openai": with_openai,
    "langchain": with_langchain,
    "llama-index": with_llama_index,
    "litellm": with_litellm,
    "haystack": with_haystack,
}

if __name__ == "__main__":
    url, client = sys.argv[1:]
    print(json.dumps(CLIENTS[client](url, json.load(sys.stdin))))
