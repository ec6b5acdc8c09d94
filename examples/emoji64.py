"""Builds the emoji set, nine class folders of PNG images, from a public npm package.

    npm pack emoji-datasource-google@16.0.0
    python examples/emoji64.py --tarball=emoji-datasource-google-16.0.0.tgz --out=data/emoji64
    python -m ladagan_tf.prepare --source=data/emoji64 --out=data/emoji-64 --resolution=64

The artwork is Noto Emoji (Apache-2.0). Classes are the categories of the package's emoji.json;
every skin tone is an image of its own, and the five bare skin-tone swatches are left out.
"""

import collections
import hashlib
import io
import json
import pathlib
import re
import sys
import tarfile
import zlib

from absl import flags
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf import command
from ladagan_tf.errors import InputError, reason
from ladagan_tf.files import new_folder

FLAGS = flags.FLAGS
NAME, VERSION = "emoji-datasource-google", "16.0.0"
SHEETS = (16, 20, 32)  # sizes that the package holds as one sheet each; 64 are files
# Of the set of 64 pixels, as `content_sha256` computes it.
DOCUMENTED = "5030a08ddd81c7bdf41cdd14f5364ebaf88310faf88aa142adfda317b2496d0d"


def define():
    """Defines the flags."""
    flags.DEFINE_string("tarball", None, f"File that `npm pack {NAME}@{VERSION}` wrote. Required.")
    flags.DEFINE_string("out", None, "Folder to make; it must not exist yet. Required.")
    flags.DEFINE_integer("size", 64, "Side of the images in pixels: 16, 20, 32 or 64 (default).")
    flags.mark_flags_as_required(["tarball", "out"])


def read_members(tarball, size):
    """Dict from member to bytes of what a set of `size` pixels needs; none is ever extracted."""
    artwork = f"img/google/sheets/{size}.png" if size in SHEETS else f"img/google/{size}/"
    wanted = tuple(f"package/{name}" for name in ("package.json", "emoji.json", artwork))
    with tarfile.open(tarball, "r:gz") as tar:
        files = (member for member in tar if member.isfile() and member.name.startswith(wanted))
        return {file.name.removeprefix("package/"): tar.extractfile(file).read() for file in files}


def build_images(members, size):
    """Dict from `class/name.png` to bytes: the package's own, or cut from the sheet of `size`.

    Raises:
        KeyError, TypeError, ValueError, OSError: if `members` are not those of the package.
    """
    about = json.loads(members["package.json"])
    if (about["name"], about["version"]) != (NAME, VERSION):
        raise ValueError(f"it is {about['name']}@{about['version']}")
    if size in SHEETS:
        sheet = Image.open(io.BytesIO(members[f"img/google/sheets/{size}.png"]))
    images = {}
    for emoji in json.loads(members["emoji.json"]):
        label = emoji["category"].lower().replace(" & ", "-")
        for shown in (emoji, *emoji.get("skin_variations", {}).values()):
            name = shown["image"]
            if not re.fullmatch(r"[a-z-]+/[0-9a-f-]+\.png", f"{label}/{name}"):
                raise ValueError(f"it names an image {label}/{name}")  # would become a path of ours
            if label == "component":  # a swatch
                continue
            if size in SHEETS:  # cells have a border of one pixel
                left, top = (shown[f"sheet_{axis}"] * (size + 2) + 1 for axis in "xy")
                cut = io.BytesIO()
                sheet.crop((left, top, left + size, top + size)).save(cut, "PNG")
                images[f"{label}/{name}"] = cut.getvalue()
            else:
                images[f"{label}/{name}"] = members[f"img/google/{size}/{name}"]
    return images


def content_sha256(images):
    """SHA-256, in hexadecimal, of the names and bytes of a dict of images."""
    digest = hashlib.sha256()
    for path in sorted(images):
        digest.update(path.encode() + b"\n" + hashlib.sha256(images[path]).digest())
    return digest.hexdigest()


def main():
    """Builds what the flags name."""
    if FLAGS.size not in (*SHEETS, 64):
        raise InputError(f"--size={FLAGS.size}: give 16, 20, 32 or 64")
    try:
        images = build_images(read_members(FLAGS.tarball, FLAGS.size), FLAGS.size)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        why = getattr(error, "strerror", None) or reason(error)
        raise InputError(f"--tarball={FLAGS.tarball}: it cannot be read ({why})") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"--tarball={FLAGS.tarball}: not what `npm pack {NAME}@{VERSION}` writes "
            f"({reason(error)})"
        ) from None
    with new_folder(FLAGS.out) as folder:
        for path, data in images.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)
    counts = collections.Counter(path.split("/")[0] for path in images)
    print(f"{FLAGS.out}: {len(images)} images of {FLAGS.size} pixels in {len(counts)} classes")
    print(", ".join(f"{label} {count}" for label, count in counts.most_common()))
    if FLAGS.size == 64:
        same = content_sha256(images) == DOCUMENTED
        print("content as documented" if same else "the content is NOT the documented one")


if __name__ == "__main__":
    command.parse(sys.modules[__name__])
    command.run(main)
