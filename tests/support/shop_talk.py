"""Questions of a small shop, by intent, as many as are wanted."""

from __future__ import annotations

from itertools import product

SAID: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "track_order": (
        ("Where is", "Can I track", "When will I get", "I am waiting for", "Has the courier got"),
        ("my parcel", "the package I ordered", "my delivery", "the kettle I bought", "my shipment"),
    ),
    "refund_status": (
        ("When do I get", "I still wait for", "You owe me", "What about", "The bank has not seen"),
        ("my money back", "the refund", "my refund of last week", "the amount you owe", "the money for the return"),
    ),
    "invoice": (
        ("Please send", "I need", "How can I print", "My company wants", "Can you mail me"),
        ("an invoice", "the tax receipt", "a bill with our tax number", "the electronic invoice", "a proper receipt"),
    ),
    "wifi_setup": (
        ("It will not join", "How do I connect to", "The app cannot find", "Setup stops at", "It keeps losing"),
        ("the wifi", "my router", "the wireless network", "the 5 GHz network", "the home network"),
    ),
}


def questions(intent: str, count: int) -> list[str]:
    """Different ones, the same every time."""
    starts, ends = SAID[intent]
    made = [f"{start} {end}?" for end, start in product(ends, starts)]
    assert count <= len(made)
    return made[:count]
