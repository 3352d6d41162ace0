"""A feed worker on a client by openapi-python-client; its package is beside this file."""

import json
import sys

from vows_client import AuthenticatedClient
from vows_client.api.content import post_content_batch, put_content
from vows_client.api.discovery import get_recommendations, post_search
from vows_client.api.embeddings import post_v1_embeddings
from vows_client.api.interactions import get_events_export, post_interactions
from vows_client.api.ranking import post_rank
from vows_client.models import (
    ContentBatchResponse,
    ContentStored,
    EmbeddingsRequest,
    EmbeddingsResponse,
    ErrorBody,
    IdentifiedContent,
    InteractionRequest,
    InteractionRequestType,
    InteractionsResponse,
    PutContentRequest,
    RankRequest,
    RankResponse,
    Recommendations,
    SearchRequest,
    SearchResults,
)

client = AuthenticatedClient(base_url=sys.argv[1], token="not asked for here")

stored = put_content.sync("gen-barn", client=client, body=PutContentRequest(text="an oak barn"))
assert isinstance(stored, ContentStored)
items = [
    IdentifiedContent(id="gen-hall", title="Hall", tags=["grand"]),
    IdentifiedContent(id="gen-tent", text="a tent"),
]
batch = post_content_batch.sync(client=client, body=items)
assert isinstance(batch, ContentBatchResponse)
event = InteractionRequest(user_id="gen-ann", content_id="gen-barn", type_=InteractionRequestType.SAVE)
recorded = post_interactions.sync(client=client, body=event)
assert isinstance(recorded, InteractionsResponse)
ranked = post_rank.sync(client=client, body=RankRequest(user_id="gen-ann", candidates=["gen-hall", "gen-tent"]))
assert isinstance(ranked, RankResponse)
found = post_search.sync(client=client, body=SearchRequest(text="somewhere to dance"))
assert isinstance(found, SearchResults)
feed = get_recommendations.sync("gen-ann", client=client, top_k=2, category=["venue"])
assert isinstance(feed, Recommendations)
vectors = post_v1_embeddings.sync(client=client, body=EmbeddingsRequest(model="sentence-bert-v1", input_=["a", "b"]))
assert isinstance(vectors, EmbeddingsResponse)
event = InteractionRequest(user_id="gen-ann", content_id="nowhere", type_=InteractionRequestType.VIEW)
refused = post_interactions.sync(client=client, body=event)
assert isinstance(refused, ErrorBody)
log = get_events_export.sync_detailed(client=client, user_id="gen-ann").content.decode()

print(
    json.dumps(
        {
            "stored": stored.status,
            "batch": batch.to_dict(),
            "event": recorded.stored,
            "ranked": [one.id for one in ranked.ranked],
            "found": len(found.results),
            "feed": feed.matched,
            "vectors": len(vectors.data),
            "refused": refused.error.field,
            "log": log.count("\n"),
        }
    )
)
