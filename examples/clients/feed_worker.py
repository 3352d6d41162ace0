"""A feed worker: recommends to users, and records what they then do. `python feed_worker.py URL USER [USER …]`"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL, USERS = sys.argv[1], sys.argv[2:]
KEY = ""  # of VOWS_API_KEYS, where the server has some


def call(method: str, path: str, body: object = None) -> dict:
    """The decoded answer; what the server had no capacity for is sent again."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {KEY}"} if KEY else {})
    data = None if body is None else json.dumps(body).encode()
    for _ in range(5):
        try:
            with urllib.request.urlopen(urllib.request.Request(URL + path, data, headers, method=method)) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                raise SystemExit(f"{method} {path}: {json.load(error)['error']['message']}") from None
            time.sleep(float(error.headers.get("Retry-After", 1)))  # how long the server asks to wait
    raise SystemExit(f"{method} {path}: the server stays busy")


for user in USERS:
    name = urllib.parse.quote(user, safe="")
    feed = [one["id"] for one in call("GET", f"/user/{name}/recommendations?top_k=3")["results"]]
    # The event_id makes it safe to send this again: it is stored once.
    shown = [{"user_id": user, "content_id": id, "type": "view", "event_id": f"{user}-saw-{id}"} for id in feed]
    stored = call("POST", "/interactions", shown)["stored"] if shown else 0
    print(json.dumps({"user": user, "feed": feed, "stored": stored}))
