"""What the widget and the console share: vendored files, colours, words, Markdown, the stream of events."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.fake_server import WEB, FakeServer


@pytest.fixture
def modules(page: Page, server: FakeServer) -> Page:
    """A page of the server's origin, on which a test imports a module of `shared/`."""
    page.goto(f"{server.url}/w/vendor/VENDOR.json")
    return page


def test_every_vendored_file_is_the_one_that_was_checked() -> None:
    listed = json.loads((WEB / "vendor/VENDOR.json").read_text())
    assert {one["file"]: one["sha256"] for one in listed} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (WEB / "vendor").glob("*.js")
        if path.name != "lit.entry.js"
    }
    assert [one["file"] for one in listed if not (WEB / "vendor" / one["licence_file"]).is_file()] == []


def test_no_file_of_the_web_folder_names_another_host_to_load_from() -> None:
    loads = re.compile(r"""(?:src|href|from|import|url|fetch)\s*[=(]?\s*["'(]\s*(?:https?:)?//[^"')]+""")
    files = [path for path in WEB.rglob("*") if path.suffix in {".js", ".css", ".html"} and "vendor" not in path.parts]
    assert {path.name: loads.findall(path.read_text()) for path in files if loads.search(path.read_text())} == {}


def test_dark_colours_are_the_same_by_preference_and_by_choice() -> None:
    css = (WEB / "shared/tokens.css").read_text()
    [preferred] = re.findall(r':host\(:not\(\[data-theme="light"\]\)\) \{(.*?)\}', css, re.S)
    [chosen] = re.findall(r':host\(\[data-theme="dark"\]\) \{(.*?)\}', css, re.S)
    assert preferred.split() == chosen.split()


def test_every_word_exists_in_both_languages(modules: Page) -> None:
    missing = """async () => {
        await import("/w/widget/words.js");
        return (await import("/w/shared/i18n.js")).untranslated();
    }"""
    assert modules.evaluate(missing) == []


def test_every_key_the_code_asks_for_has_words(modules: Page) -> None:
    asked = set()
    for path in [*(WEB / "shared").glob("*.js"), *(WEB / "widget").glob("*.js")]:
        asked |= set(re.findall(r'\bt\("([a-z_.]+)"', path.read_text()))
    known = """async (keys) => {
        await import("/w/widget/words.js");
        const t = (await import("/w/shared/i18n.js")).translator("zh");
        return keys.filter((key) => t(key) === key);
    }"""
    assert len(asked) > 60
    assert modules.evaluate(known, sorted(asked)) == []


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** <script>alert(1)</script>", "<p><strong>a</strong> </p>"),
        ("![alt](https://elsewhere.example/a.png)", "<p>alt</p>"),
        ("![alt](//elsewhere.example/a.png)", "<p>alt</p>"),
        ("![alt](data:image/png;base64,AA)", "<p>alt</p>"),
        ("<img src=x onerror=alert(1) alt=x>", "x"),
        ("[go](javascript:alert(1))", "<p>go</p>"),
        ("<a>bare</a>", "<p>bare</p>"),
        ("<iframe src=/></iframe><form><input></form>", ""),
        ("<p style='position:fixed' class=x id=y data-n=1>a</p>", "<p>a</p>"),
        ("<svg><style><img src=x onerror=alert(1)></style></svg>", "<p></p>"),
        ("<button class=cite data-n=1>1</button>", "<p>1</p>"),
    ],
)
def test_markdown_of_anybody_is_harmless(modules: Page, text: str, html: str) -> None:
    render = """async (text) => {
        const { renderMarkdown } = await import("/w/shared/markdown.js");
        return (await renderMarkdown(text, {origin: location.origin})).innerHTML.trim();
    }"""
    outside: list[str] = []
    modules.on("request", lambda request: outside.append(request.url) if "/w/" not in request.url else None)
    assert modules.evaluate(render, text) == html
    assert outside == []


def test_a_link_opens_elsewhere_and_a_picture_of_our_own_is_shown(modules: Page, server: FakeServer) -> None:
    render = """async (text) => {
        const { renderMarkdown } = await import("/w/shared/markdown.js");
        return (await renderMarkdown(text, {origin: location.origin})).innerHTML.trim();
    }"""
    assert modules.evaluate(render, "[a](https://example.com)") == (
        '<p><a href="https://example.com/" target="_blank" rel="noopener noreferrer nofollow">a</a></p>'
    )
    assert modules.evaluate(render, "![a](/api/v1/media/x)") == (
        f'<p><img src="{server.url}/api/v1/media/x" alt="a" loading="lazy"></p>'
    )


@pytest.mark.parametrize(
    ("article", "quote", "marked"),
    [
        ("Hold **the button** for 5 s.", "hold the button for 5 s", ["Hold ", "the button", " for 5 s"]),
        ("请按住*配网键* 5 秒，直到闪蓝灯。", "按住配网键 5 秒,直到闪蓝灯", ["按住", "配网键", " 5 秒，直到闪蓝灯"]),
        ("| E2 | Boiled dry |\n|---|---|\n| E3 | Wet |", "E2 | Boiled dry", ["E2", "Boiled dry"]),
        (
            "| Code | Do |\n|---|---|\n| E1 | Turn |\n| E2 | Fill |\n\nThen wait.",
            "| Code | Do |\n|---|---|\n| E2 | Fill |\nThen wait.",
            ["E2", "Fill", "Then wait"],
        ),
        ("Nothing of the kind.", "Something else", []),
        ("Anything.", "", []),
    ],
)
def test_a_quote_is_found_whatever_markup_lies_between(
    modules: Page, article: str, quote: str, marked: list[str]
) -> None:
    mark = """async ([article, quote]) => {
        const { markQuote, renderMarkdown } = await import("/w/shared/markdown.js");
        const root = await renderMarkdown(article, {origin: location.origin});
        markQuote(root, quote);
        return [...root.querySelectorAll("mark")].map((mark) => mark.textContent);
    }"""
    assert modules.evaluate(mark, [article, quote]) == marked


STREAM = (
    'id: 1\nevent: message\ndata: {"text":"你好"}\n\n: still here\n\n'
    'id: 2\r\nevent: delta\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_read_whole_however_the_bytes_fall(modules: Page, size: int) -> None:
    parse = """async (chunks) => {
        const { frameParser } = await import("/w/shared/api.js");
        const events = [];
        const feed = frameParser((event) => events.push(event));
        for (const chunk of chunks) feed(chunk);
        return events;
    }"""
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    expected: list[dict[str, Any]] = [
        {"id": 1, "kind": "message", "data": {"text": "你好"}},
        {"id": 2, "kind": "delta", "data": {"a": 1}},
    ]
    assert modules.evaluate(parse, chunks) == expected


@pytest.mark.parametrize("dark", [True, False])
def test_any_accent_is_readable(modules: Page, dark: bool) -> None:
    worst = """async (dark) => {
        const { accentVariables, contrast, parseColour } = await import("/w/shared/theme.js");
        let worst = 21;
        for (let i = 0; i < 4096; i += 7) {
            const found = accentVariables("#" + i.toString(16).padStart(3, "0"), dark);
            const of = (name) => parseColour(found[name]);
            worst = Math.min(worst, contrast(of("--accent"), of("--on-accent")));
            worst = Math.min(worst, contrast(of("--accent-ink"), of("--accent-soft")));
        }
        return worst;
    }"""
    assert modules.evaluate(worst, dark) >= 4.5
