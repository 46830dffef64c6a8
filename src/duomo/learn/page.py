"""Pages that need nothing but themselves: one HTML file, in English and Chinese, light and dark.

Markup is built with `tag`, which escapes whatever is not markup already, so that a sample's text is never code. The
page forbids itself every request (`default-src 'none'`) and every script but its own, known by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from functools import cache
from importlib import resources


class Html(str):
    """Text that is markup. Any other string is escaped where it becomes a part of it."""

    __slots__ = ()


def escaped(child: object) -> Html:
    """Markup as it is; None as nothing; other text escaped; a list's items one after the other."""
    if isinstance(child, Html):
        return child
    if child is None:
        return Html("")
    if isinstance(child, str | int | float):
        return Html(html.escape(str(child)))
    if isinstance(child, Iterable):
        return Html("".join(map(escaped, child)))
    raise TypeError(f"{type(child).__name__} cannot stand in a page")


EMPTY = {"path", "rect", "circle", "line", "polyline", "polygon", "img", "input", "meta", "link", "br"}


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. `class_` is class, `data_sort` is data-sort; an attribute that is None or False is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    opening = " ".join(parts)
    if name in EMPTY and not children:
        return Html(f"<{opening}>" if name in {"img", "input", "meta", "link", "br"} else f"<{opening}/>")
    return Html(f"<{opening}>{escaped(children)}</{name}>")


def say(en: str, zh: str, *, element: str = "span", **values: object) -> Html:
    """A text in both languages, of which the page shows one. `{name}` stands for an escaped value."""
    return Html(
        "".join(
            f'<{element} class="t" lang="{language}">{html.escape(text, quote=False).format_map(filled)}</{element}>'
            for language, text in (("en", en), ("zh", zh))
            for filled in ({name: escaped(value) for name, value in values.items()},)
        )
    )


def data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@cache
def _file(path: str) -> str:
    return resources.files("duomo").joinpath(path).read_text("utf-8")


SUN = Html(
    '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="4"/><path d="M12 2v2M12 20v2M4.9 4.9l1.4 '
    '1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4"/></svg>'
)


def page(title: str, *body: object, links: Iterable[tuple[str, object]] = ()) -> str:
    """A whole page.

    Args:
        title: of the window.
        links: (id, name) of what the bar at the top leads to.
    """
    script = _file("learn/templates/page.js")
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{known}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    style = _file("web/shared/tokens.css") + _file("learn/templates/page.css")
    bar = tag(
        "header",
        tag("span", Html(_file("web/shared/favicon.svg")), tag("b", "Duomo"), say("", "多模"), class_="brand"),
        tag("nav", [tag("a", name, href=f"#{id}") for id, name in links], aria_label="Sections 章节"),
        tag(
            "div",
            tag("button", say("中文", "English"), type="button", data_language=True, aria_label="Language 语言"),
            tag("button", SUN, type="button", data_theme_button=True, aria_label="Light or dark 明暗"),
            class_="tools",
        ),
        class_="bar",
    )
    # The raw texts are ours; a style or script element ends at its first closing tag, so none may stand inside.
    return (
        '<!doctype html>\n<html lang="en" data-lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"
        f"{bar}{tag('main', *body)}<script>{script}</script></body></html>\n"
    )
