"""`vows-edge experiments`: define, look at, stop, promote and roll back, on a running server."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "experiments",
        help="try rankings on live users: define, look at, stop, promote, roll back",
        description="Run experiments on a server, over its HTTP API. Changes need a key with the scope admin.",
    )
    parser.add_argument("--to", metavar="URL", default="http://127.0.0.1:8080", help="default: %(default)s")
    parser.add_argument("--key", default="", help="API key")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all experiments, and what was promoted").set_defaults(act=_list)
    for action, help in (
        ("show", "what an experiment has found so far"),
        ("define", "create or change an experiment, and run it"),
        ("stop", "stop it"),
        ("promote", "rank for everybody as one arm does"),
        ("rollback", "undo its promotion"),
    ):
        added = actions.add_parser(action, help=help)
        added.add_argument("name", metavar="NAME")
        added.set_defaults(act=_show if action == "show" else _define if action == "define" else _change, action=action)
        if action == "define":
            added.add_argument("file", type=Path, metavar="FILE", help="JSON, as for PUT /experiments/{name}")
        if action == "promote":
            added.add_argument("arm", metavar="ARM", nargs="?", help="needed where there are several treatments")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from runtime.transfer import Remote
    from runtime.transfer_files import TransferError

    try:
        for line in options.act(options, Remote(options.to, options.key)):
            print(line)
    except (OSError, ValueError, TransferError) as error:
        print(f"vows-edge experiments: {error}", file=sys.stderr)
        return 1
    return 0


def _list(options: argparse.Namespace, server: Any) -> list[str]:
    found = server.decoded(dict, "GET", "/experiments")
    lines = [f"users in no experiment get {found['model'] or 'the default model'}"]
    return lines + [f"{one['name']}: {_state(one)}" for one in found["experiments"]]


def _show(options: argparse.Namespace, server: Any) -> list[str]:
    return _lines(server.decoded(dict, "GET", _path(options.name)))


def _define(options: argparse.Namespace, server: Any) -> list[str]:
    import msgspec

    definition = msgspec.json.decode(options.file.read_bytes())
    return _lines(server.decoded(dict, "PUT", _path(options.name), definition))


def _change(options: argparse.Namespace, server: Any) -> list[str]:
    arm = getattr(options, "arm", None)
    query = f"?arm={quote(arm, safe='')}" if arm else ""
    changed = server.decoded(dict, "POST", f"{_path(options.name)}/{options.action}{query}")
    return [f"{changed['name']}: {_state(changed)}"]


def _path(name: str) -> str:
    return f"/experiments/{quote(name, safe='')}"


def _state(found: Any) -> str:
    arm, reason = found["promoted_arm"], found["reason"]
    state = str(found["state"]).replace("_", " ")
    return state + (f" ({arm})" if arm else "") + (f", {reason}" if reason else "")


def _lines(found: Any) -> list[str]:
    """An experiment in lines."""
    ratio = found["sample_ratio"]
    lines = [
        f"{found['name']}, period {found['period']}: {_state(found)}",
        f"now: {found['decision']}, {found['decision_reason']}",
        f"sample ratio: p {ratio['p']:.3g}{', a mismatch' if ratio['mismatch'] else ''}",
    ]
    for arm in found["arms"]:
        rate = f" ({arm['engaged'] / arm['closed']:.2%})" if arm["closed"] else ""
        line = f"{arm['name']} ({arm['model']}): {arm['users']} users, {arm['closed']} with a window that is over"
        line += f", {arm['engaged']} engaged{rate}"
        if (interval := arm.get("lift_interval")) is not None:
            low, high = interval
            found_lift = "?" if arm.get("lift") is None else f"{arm['lift']:+.1%}"
            line += f"; lift {found_lift}, from {low:+.1%} to {'infinity' if high is None else f'{high:+.1%}'}"
        if arm.get("users_needed"):
            line += f"; about {arm['users_needed']} users more"
        lines.append(line)
        for rail in arm.get("guardrails", []):
            observed = "nothing yet" if rail["observed"] is None else f"{rail['observed']:.3g}"
            verdict = ", violated" if rail["violated"] else ""
            lines.append(f"  {rail['name']}: {observed}, limit {rail['limit']:g}{verdict}")
    return lines
