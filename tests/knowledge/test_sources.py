from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from duomo.errors import InputError, MediaError, TooLarge
from duomo.knowledge.sources import Source, sources_from_file, sources_from_paths


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def unpack(data: bytes) -> list[Source]:
    return list(sources_from_file("in.zip", lambda: data))


def test_a_folder_gives_its_files_by_their_path_within_it_and_none_that_are_hidden(tmp_path: Path):
    for name in ("zh/a.md", "en/a.md", ".git/config", "en/.hidden.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = list(sources_from_paths([tmp_path]))
    assert [(s.name, s.read(), s.stem) for s in found] == [
        ("en/a.md", b"en/a.md", "en/a"),
        ("zh/a.md", b"zh/a.md", "zh/a"),
    ]


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path):
    (tmp_path / "secret.md").write_text("secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.md").symlink_to(tmp_path / "secret.md")
    assert list(sources_from_paths([tmp_path / "in"])) == []


def test_a_picture_far_above_the_folder_is_not_read(tmp_path: Path):
    (tmp_path / "private.png").write_bytes(b"private")
    (tmp_path / "shop" / "articles" / "zh").mkdir(parents=True)
    (tmp_path / "shop" / "near.png").write_bytes(b"near")
    (tmp_path / "shop" / "articles" / "zh" / "a.md").write_text("x")
    (source,) = sources_from_paths([tmp_path / "shop" / "articles"])
    assert source.beside("../../near.png") == b"near"
    assert source.beside("../../../private.png") is None


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="there is no file or folder"):
        list(sources_from_paths([tmp_path / "none"]))


def test_an_archive_gives_its_files_and_their_pictures():
    found = unpack(archive(("zh/a.md", b"x"), ("img/b.png", b"png")))
    assert [(s.name, s.read(), s.within) for s in found] == [
        ("img/b.png", b"png", "in.zip"),
        ("zh/a.md", b"x", "in.zip"),
    ]
    assert found[1].beside("../img/b.png") == b"png"
    assert found[1].beside("../../img/b.png") is None


def test_names_written_on_chinese_windows_are_read_as_they_were_meant():
    data = bytearray(archive(("XXXX.md", b"x")))
    while (at := data.find(b"XXXX")) >= 0:
        data[at : at + 4] = "退货".encode("gbk")
    assert [s.name for s in unpack(bytes(data))] == ["退货.md"]


@pytest.mark.parametrize("name", ["../evil.md", "/etc/evil.md", "a/../../evil.md", "C:/evil.md", "..\\evil.md"])
def test_a_member_that_points_outside_is_refused_and_the_others_are_read(name: str):
    refused, good = sorted(unpack(archive((name, b"x"), ("good.md", b"y"))), key=lambda s: s.name == "good.md")
    with pytest.raises(MediaError, match="outside"):
        refused.read()
    assert good.read() == b"y"


def test_a_symbolic_link_in_an_archive_is_refused():
    link = zipfile.ZipInfo("link.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (source,) = unpack(archive((link, b"/etc/passwd")))
    with pytest.raises(MediaError, match="symbolic link"):
        source.read()


def test_a_member_that_unpacks_to_a_thousand_times_its_size_is_refused():
    (source,) = unpack(archive(("bomb.txt", bytes(8 << 20))))
    with pytest.raises(TooLarge, match="times its size"):
        source.read()


def test_an_archive_within_an_archive_is_refused():
    (source,) = unpack(archive(("inner.zip", archive(("a.md", b"x")))))
    with pytest.raises(MediaError, match="archive within an archive"):
        source.read()


def test_a_broken_archive_is_one_source_that_says_so():
    (source,) = unpack(b"PK\x03\x04 this is no archive")
    with pytest.raises(MediaError, match="not a zip archive"):
        source.read()


def test_an_archive_that_declares_too_little_is_caught_while_reading():
    data = bytearray(archive(("a.txt", b"hello world " * 50)))
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (5).to_bytes(4, "little")
    (source,) = unpack(bytes(data))
    with pytest.raises(MediaError):
        source.read()
