"""A slash at the end of a path means nothing, wherever it is sent."""

import pytest


@pytest.mark.parametrize("ending", ["/", "//", "/?", "/?x=1"])
def test_the_same_answer_with_a_slash(shared_server, ending):
    client = shared_server.client
    for path in ("/healthz", "/openapi.json", "/content/nobody", "/v1/models"):
        if "?x" in ending and path == "/content/nobody":
            continue
        assert client.get(path + ending).status_code == client.get(path).status_code
    assert client.post(f"/embed{ending}", json={"text": "a barn"}).status_code == 200


def test_an_id_does_not_end_with_the_slash_after_it(shared_server):
    client = shared_server.client
    for path, id in (("/content/slashed/", "slashed"), ("/content/slashed%2F", "slashed/")):
        assert client.put(path, json={"text": "a barn"}).json()["id"] == id
    assert client.get("/content/slashed").json()["id"] == "slashed"
    assert client.get("/content/slashed%2F/").json()["id"] == "slashed/"
    assert client.delete("/content/slashed/").status_code == client.delete("/content/slashed%2F").status_code == 204
    client.put("/content/p-slash", json={"text": "a barn"})
    client.post("/interactions/", json={"user_id": "slash", "content_id": "p-slash", "type": "save"})
    assert client.get("/user/slash/embedding/").json()["interaction_count"] == 1
    assert client.delete("/user/slash/").json() != client.delete("/user/slash/").json()
    assert client.delete("/user/").status_code in (404, 405)
