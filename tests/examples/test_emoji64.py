"""The emoji example builds its class folders from a package of the published layout."""

import io
import json
import tarfile

import pytest
from in_process import command, error_line
from PIL import Image

from examples import emoji64

ABOUT = {"name": "emoji-datasource-google", "version": "16.0.0"}
THUMB = "1f44d-1f3fb.png"  # a skin tone of 1f44d.png
EMOJI = [
    {"image": "1f44d.png", "category": "People & Body", "sheet_x": 0, "sheet_y": 0,
     "skin_variations": {"1F3FB": {"image": THUMB, "sheet_x": 0, "sheet_y": 1}}},
    {"image": "0023-fe0f-20e3.png", "category": "Symbols", "sheet_x": 1, "sheet_y": 0},
    {"image": "1f1fa.png", "category": "Flags", "sheet_x": 1, "sheet_y": 1},
    {"image": "1f3fb.png", "category": "Component", "sheet_x": 2, "sheet_y": 0},
]  # fmt: skip
MODES = {"1f44d.png": "RGBA", THUMB: "RGBA", "0023-fe0f-20e3.png": "LA", "1f1fa.png": "P"}
CLASSES = {"people-body/1f44d.png", f"people-body/{THUMB}", "symbols/0023-fe0f-20e3.png"}
CLASSES |= {"flags/1f1fa.png"}


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def members(emoji=EMOJI, about=ABOUT):
    """A package with files of 64 pixels and a sheet of 16, whose cells are told by their red."""
    sheet = Image.new("RGBA", (3 * 18, 2 * 18), (0, 255, 0, 255))
    for x in range(3):
        for y in range(2):
            corner = (18 * x + 1, 18 * y + 1)
            sheet.paste((100 * x + y, 0, 0, 128), (*corner, corner[0] + 16, corner[1] + 16))
    files = {
        f"img/google/64/{name}": png(Image.new(mode, (64, 64))) for name, mode in MODES.items()
    }
    return {
        "package.json": json.dumps(about).encode(),
        **files,
        "img/google/64/1f3fb.png": png(Image.new("RGB", (64, 64))),
        "img/google/sheets/16.png": png(sheet),
        "emoji.json": json.dumps(emoji).encode(),
    }


def packed(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def main():
    with command(emoji64, emoji64.define) as call:
        yield call


def written(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_images_are_the_packages_own_bytes_in_class_folders(main, tmp_path, capsys):
    files = members()
    tarball = packed(tmp_path / "package.tgz", files)
    main(f"--tarball={tarball}", f"--out={tmp_path / 'data' / 'set'}")
    assert written(tmp_path / "data" / "set") == CLASSES
    for name in CLASSES:
        data = (tmp_path / "data" / "set" / name).read_bytes()
        assert data == files[f"img/google/64/{name.split('/')[1]}"]
    said = capsys.readouterr().out
    assert "4 images of 64 pixels in 3 classes\npeople-body 2, symbols 1, flags 1\n" in said
    assert "NOT the documented one" in said


def test_content_that_is_the_documented_one_is_said_to_be(main, tmp_path, capsys, monkeypatch):
    digest = emoji64.content_sha256(emoji64.build_images(members(), 64))
    monkeypatch.setattr(emoji64, "DOCUMENTED", digest)
    tarball = packed(tmp_path / "package.tgz", members())
    main(f"--tarball={tarball}", f"--out={tmp_path / 'set'}")
    assert "content as documented" in capsys.readouterr().out


def test_smaller_images_are_cut_from_the_sheet_without_its_borders(main, tmp_path):
    tarball = packed(tmp_path / "package.tgz", members())
    main(f"--tarball={tarball}", f"--out={tmp_path / 'set'}", "--size=16")
    assert written(tmp_path / "set") == CLASSES
    reds = {
        "people-body/1f44d.png": 0, f"people-body/{THUMB}": 1,
        "symbols/0023-fe0f-20e3.png": 100, "flags/1f1fa.png": 101,
    }  # fmt: skip
    for name, red in reds.items():
        with Image.open(tmp_path / "set" / name) as image:
            assert image.size == (16, 16) and image.getcolors() == [(256, (red, 0, 0, 128))]


def test_the_digest_tells_names_and_bytes_apart():
    sets = [{"a/1.png": b"x"}, {"a/2.png": b"x"}, {"a/1.png": b"y"}, {}]
    assert len({emoji64.content_sha256(images) for images in sets}) == 4


def refused(main, tmp_path, capsys, tarball, *options):
    line = error_line(main, [f"--tarball={tarball}", f"--out={tmp_path / 'out'}", *options], capsys)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
    return line


def test_names_that_lead_elsewhere_are_refused(main, tmp_path, capsys):
    for image, category in (("../../1f44d.png", "Flags"), ("1f44d.png", "..")):
        emoji = [{"image": image, "category": category}]
        tarball = packed(tmp_path / "package.tgz", members(emoji))
        assert "it names an image" in refused(main, tmp_path, capsys, tarball)
        assert written(tmp_path) == {"package.tgz"}


def test_another_package_or_file_is_refused_in_one_line(main, tmp_path, capsys):
    (tmp_path / "text.tgz").write_text("no archive")
    files = members()
    del files["img/google/64/1f44d.png"]
    tarballs = {
        "it is emoji-datasource-google@15.1.2": members(about=ABOUT | {"version": "15.1.2"}),
        "it is other@16.0.0": members(about=ABOUT | {"name": "other"}),
        "img/google/64/1f44d.png": files,
        "package.json": {"README.md": b"nothing"},
    }
    for message, content in tarballs.items():
        line = refused(main, tmp_path, capsys, packed(tmp_path / "other.tgz", content))
        assert message in line and "npm pack emoji-datasource-google@16.0.0" in line
    for name, reason in (("none.tgz", "No such file"), ("text.tgz", "not a gzip file")):
        line = refused(main, tmp_path, capsys, tmp_path / name)
        assert f"{name}: it cannot be read ({reason}" in line


def test_an_unknown_size_is_refused(main, tmp_path, capsys):
    line = refused(main, tmp_path, capsys, "unread.tgz", "--size=48")
    assert line == "error: --size=48: give 16, 20, 32 or 64"


def test_a_folder_that_exists_is_left_alone(main, tmp_path, capsys):
    tarball = packed(tmp_path / "package.tgz", members())
    (tmp_path / "set").mkdir()
    line = error_line(main, [f"--tarball={tarball}", f"--out={tmp_path / 'set'}"], capsys)
    assert "it exists already" in line
