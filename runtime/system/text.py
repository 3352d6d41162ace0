"""Text as Unicode has it: whether anything of it can be seen, and when two spellings are the same."""

import re
import unicodedata

_VISIBLE_ASCII = re.compile("[!-~]")

# What a BERT tokenizer drops: white space, control and format characters, private ones, accents that stand on nothing.
# Characters that this Python's Unicode does not know yet are taken for visible, as the tokenizer does.
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Mn", "Zl", "Zp", "Zs"})
_INVISIBLE_TOO = "\u1734\ufffd"


def visible(text: str | None) -> str:
    """The text without white space around it; empty where nothing of it can be seen: the model would read no token.

    A test compares it with the tokenizer, character by character.
    """
    if not text:
        return ""
    stripped = text.strip()
    if _VISIBLE_ASCII.search(stripped):
        return stripped
    seen = any(unicodedata.category(one) not in _INVISIBLE and one not in _INVISIBLE_TOO for one in stripped)
    return stripped if seen else ""


def folded(text: str) -> str:
    """The form in which two spellings of a name agree: without regard to case, the width of spaces, invisible
    characters, and how Unicode writes a letter (composed, decomposed, styled). Like Unicode's NFKC_Casefold."""
    if not text.isascii():
        seen = "".join(one for one in text if unicodedata.category(one) != "Cf")
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", seen).casefold())
    return " ".join(text.casefold().split())
