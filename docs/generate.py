"""`python -m docs.generate`: write the references that are made from the code; tests compare them with it."""

import re
from pathlib import Path

import msgspec

from docs.example_answers import write_answers
from runtime.api.endpoints import ENDPOINTS
from runtime.api.pages import ANSWERS_FILE, OPENAPI_FILE
from runtime.api.tags import TAGS
from runtime.environment import settings_table
from runtime.http.openapi import openapi_document

SETTINGS_FILE = Path(__file__).with_name("settings.md")


def main() -> None:
    document = msgspec.json.encode(openapi_document(ENDPOINTS, TAGS))
    OPENAPI_FILE.write_bytes(msgspec.json.format(document, indent=1) + b"\n")
    about = re.split(r"^\|", SETTINGS_FILE.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
    SETTINGS_FILE.write_text(about + settings_table(), encoding="utf-8")
    write_answers(ANSWERS_FILE, msgspec.json.decode(document))
    print(f"wrote {OPENAPI_FILE}, {ANSWERS_FILE} and {SETTINGS_FILE}")


if __name__ == "__main__":
    main()
