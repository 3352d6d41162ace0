"""Free text of clients → the codes of DEVICES."""

from training.data.events import DEVICES

_WORDS = {
    "tablet": ("tablet", "ipad"),
    "phone": ("phone", "mobile", "android", "ios"),
    "desktop": ("desktop", "laptop", "web", "mac", "windows", "linux"),
}


def device_code(text: str | None) -> int:
    """The first kind whose word occurs: an iPad is a tablet, an unnamed Android a phone. None or blank is unknown."""
    lowered = (text or "").strip().lower()
    if not lowered:
        return DEVICES.index("unknown")
    for kind, words in _WORDS.items():
        if any(word in lowered for word in words):
            return DEVICES.index(kind)
    return DEVICES.index("other")
