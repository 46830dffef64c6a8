from __future__ import annotations

from duomo.knowledge.chunk import LIMIT, TAIL, Chunk, chunk, context, pictures, plain, replace_pictures, size


def test_each_chunk_carries_the_headings_above_it():
    text = "# Delivery\n\nWe ship daily.\n\n## Times\n\nTwo days.\n\n# Returns\n\nWithin a week."
    assert chunk(text) == [
        Chunk("Delivery", "We ship daily."),
        Chunk("Delivery › Times", "Two days."),
        Chunk("Returns", "Within a week."),
    ]


def test_a_title_that_is_also_the_first_heading_is_not_said_twice():
    assert context("Delivery", Chunk("Delivery › Times", "")) == "Delivery › Times"


def test_a_long_chinese_paragraph_is_cut_between_sentences_into_even_parts():
    sentence = "收到商品之后请先检查外包装是否完好再签收。"
    found = chunk(sentence * 40)
    assert "".join(piece.text for piece in found) == sentence * 40
    assert all(piece.text.endswith("。") for piece in found)
    assert max(size(piece.text) for piece in found) <= LIMIT
    assert min(size(piece.text) for piece in found) > LIMIT / 2


def test_a_table_continues_under_its_own_header():
    rows = [f"| E{n:02} | {'门没有关好请重新关门' * 3} |" for n in range(30)]
    found = chunk("\n".join(["| 代码 | 含义 |", "|---|---|", *rows]))
    assert len(found) > 1
    assert all(piece.text.startswith("| 代码 | 含义 |\n|---|---|\n| E") for piece in found)
    assert [row for piece in found for row in piece.text.splitlines()[2:]] == rows


def test_a_list_is_cut_between_its_items():
    items = [f"- Step {n}: {'press the button and wait ' * 6}".rstrip() for n in range(20)]
    found = chunk("\n".join(items))
    assert len(found) > 1
    assert [line for piece in found for line in piece.text.splitlines()] == items


def test_a_text_without_any_full_stop_is_cut_all_the_same():
    found = chunk("啊" * 2000)
    assert "".join(piece.text for piece in found) == "啊" * 2000
    assert max(size(piece.text) for piece in found) <= LIMIT + TAIL


def test_plain_text_has_no_markdown_signs():
    text = "## Title\n\n- **bold** and `code`\n- [a link](http://x)\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    assert " ".join(plain(text).split()) == "Title bold and code a link a b 1 2"


def test_pictures_are_found_renamed_and_taken_out():
    text = "Press here ![button](img/a.png) then ![lamp](b.png)"
    assert pictures(text) == [("img/a.png", "button"), ("b.png", "lamp")]
    assert replace_pictures(text, {"b.png": "blob:1"}) == "Press here  then ![lamp](blob:1)"
    assert replace_pictures(text, None) == "Press here  then "
