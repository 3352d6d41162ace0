"""The groups of endpoints in the documentation."""

from runtime.http.openapi import Tag

TAGS = (
    Tag("Embeddings", "Texts as vectors, in this API's shapes and in OpenAI's.", ("/embed", "/v1/")),
    Tag("Discovery", "Search, similar items and recommendations over the whole catalogue.",
        ("/search", "/content/{id:path}/similar", "/user/{id:path}/recommendations")),
    Tag("Content", "The catalogue: items, stored with their vectors.", ("/content",)),
    Tag("Interactions", "What users did, and the log of it.", ("/interactions", "/events")),
    Tag("Ranking", "Candidates in the order of a user's taste, and what a user would do with them.",
        ("/rank", "/user/{id:path}/next-action")),
    Tag("Users", "Preferences, vectors and styles of users, and forgetting them.", ("/user",)),
    Tag("Experiments", "Models and weights tried on a part of the users.", ("/experiments",)),
    Tag("Operations", "Health, metrics, and what is served here.", ("/healthz", "/readyz", "/info", "/metrics",
        "/models")),
    Tag("Pages", "Pages for people.", ("/",)),
)  # fmt: skip
