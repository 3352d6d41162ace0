"""The monitoring of deploy/ as it runs: a real Prometheus reads a real server; every query and rule has its data."""

import contextlib
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from runtime.http.api_keys import entry, make_key
from tests.test_deploy import DEPLOY, PANELS, RULES
from tests.waiting import WAIT_S, reserved_port
from tests.waiting import until as until_so

pytestmark = pytest.mark.slow

QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
# What a rule compares, without the limit: an alert that does not fire has no result. A server without errors has no
# series of them, so those that succeeded stand for them.
COMPARED = [re.sub(r"\s*(==|>|<)\s*[\d.e]+$", "", rule["expr"]).replace("5..", "2..") for rule in RULES]


@pytest.fixture(scope="module")
def prometheus(start_server, tmp_path_factory):
    """Prometheus with the files of deploy/, its addresses changed: it scrapes the port for metrics, and as the job
    `with_key` the API's port with a key of the scope `metrics`."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    folder: Path = tmp_path_factory.mktemp("prometheus")
    ports = contextlib.ExitStack()
    metrics_port, port = (ports.enter_context(reserved_port()) for _ in range(2))
    key, writer = make_key(), make_key()
    keys = f"{entry('prometheus', 'metrics', key)},{entry('app', 'read+write', writer)}"
    server = start_server(api_keys=keys, metrics_port=metrics_port, rate_per_s=2, rate_burst=4)
    (folder / "vows.key").write_text(key)
    text = (DEPLOY / "prometheus.yml").read_text().replace("vows:9091", f"127.0.0.1:{metrics_port}")
    keyed = dict(re.findall(r"# (authorization|static_configs): (.+)", text))
    assert set(keyed) == {"authorization", "static_configs"}
    config = yaml.safe_load(text.replace("15s", "1s"))
    config["rule_files"] = [str(DEPLOY / "alerts.yml")]
    config["scrape_configs"].append(
        {"job_name": "with_key", **{name: yaml.safe_load(one) for name, one in keyed.items()}}
    )
    config["scrape_configs"][1]["authorization"]["credentials_file"] = str(folder / "vows.key")
    config["scrape_configs"][1]["static_configs"][0]["targets"] = [server.url.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=log, stderr=log,
        )  # fmt: skip
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=WAIT_S)
    try:
        until(lambda: len(query(client, "up == 1")) == 2, (folder / "log").read_text)
        use(server.url, writer)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=WAIT_S)
        ports.close()


def until(condition, why=lambda: ""):
    """As others wait, for a program that may not listen yet."""

    def so():
        with contextlib.suppress(httpx.TransportError):
            return condition()

    until_so(so, why, every_s=0.2)


def query(client, expression):
    answer = client.get("/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    return answer["data"]["result"]


def use(url, key):
    """Something of everything that is counted: stages, cache, errors, and rejections beyond the rate."""
    statuses = set()
    with httpx.Client(base_url=url, timeout=WAIT_S, headers={"authorization": f"Bearer {key}"}) as client:
        assert client.put("/content/barn", json={"text": "a barn"}).status_code == 200

        def embed(_):
            statuses.add(client.post("/embed", json={"text": "a barn"}).status_code)

        with ThreadPoolExecutor(8) as pool:  # at once: a slow machine would never be beyond the rate with one

            def both():
                list(pool.map(embed, range(16)))
                return statuses == {200, 429}

            until_so(both)


@pytest.mark.parametrize("expression", QUERIES)
def test_every_panel_has_data(prometheus, expression):
    until(lambda: query(prometheus, expression), lambda: f"no data for {expression}")


@pytest.mark.parametrize("expression", COMPARED)
def test_every_rule_has_something_to_compare(prometheus, expression):
    until(lambda: query(prometheus, expression), lambda: f"no data for {expression}")


def test_the_rules_are_evaluated_without_an_error(prometheus):
    def evaluated():
        (group,) = prometheus.get("/rules").json()["data"]["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"]) and len(group["rules"]) == len(RULES)

    until(evaluated, lambda: prometheus.get("/rules").text)


def test_compose_and_grafana_fit_together():
    """Grafana itself is not tried: what it reads has to be where it looks."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = {name: dict(volume.split(":")[:2] for volume in service["volumes"]) for name, service in compose.items()}
    for service in mounts.values():
        assert all((DEPLOY / source).exists() for source in service if source.startswith("."))
    (scraped,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped["static_configs"][0]["targets"] == [f"vows:{compose['vows']['environment']['VOWS_METRICS_PORT']}"]
    provisioning = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/vows.yml").read_text())["providers"]
    assert mounts["grafana"]["./grafana/dashboard.json"].startswith(provider["options"]["path"] + "/")
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        assert {"x", "y", "w", "h"} <= panel["gridPos"].keys()
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
