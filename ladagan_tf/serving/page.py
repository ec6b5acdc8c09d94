"""A web page around a generator: samples, what it attends to, and the way between two seeds.

Every image is that of its seed, as `ladagan_tf.generate` makes it. The page needs no internet.
"""

import asyncio
import functools
import html
import os
import pathlib
import random

from ladagan_tf import extras, pictures
from ladagan_tf.errors import InputError
from ladagan_tf.serving.page_pictures import (
    FARTHEST,
    IN_TURN,
    STEPS,
    View,
    framed_grid,
    index_at,
)

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
with extras.needed("demo", "demo"):
    import gradio as gr

COUNTS = (1, 4, 9, 25, 64)
WIDEST = 4.0  # end of the slider of --truncation_z, where there is none
KEPT_S, TIDIED_S = 600, 60  # pictures of a visitor are kept so long; how often old ones go
SHOWN_S = 24 * 3600  # what is on a page can be clicked so long after it was made
VISITORS = 128  # whose images are remembered, at once
ANSWERS = 64  # that are made or wait for it; visitors beyond them are told
MESSAGE = '<div role="alert">${value}</div>'  # which screen readers say when it changes


def build(sampler, folder):
    """The page.

    Args:
        sampler: Sampler.
        folder: pathlib.Path to keep downloads in.

    Returns:
        gradio.Blocks.
    """
    view = View(sampler)
    name = pathlib.Path(sampler.about.get("model", "generator")).stem
    with gr.Blocks(
        title=f"{name} - ladagan_tf",
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(TIDIED_S, KEPT_S),
    ) as blocks:
        gr.Markdown(
            f"# {name}\n{sampler.resolution} x {sampler.resolution} pixels, one image per seed, "
            "always the same. Click an image, or choose it below them, to look closer."
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=420):
                samples = _samples_part(view)
            with gr.Column(scale=2, min_width=360), gr.Tabs():
                with gr.Tab("Attention" if view.heads else "Closer"):
                    closer = _closer_part(view)
                with gr.Tab("Between two seeds"):
                    between = _between_part()
                with gr.Tab("Directions", visible=view.directions > 0):
                    directions = _directions_part(view)
        _connect(_Handlers(view, folder), blocks, samples, closer, between, directions)
    blocks.state_session_capacity = VISITORS  # Gradio's own is 10,000, of up to 64 images each
    return blocks


def _picture(name):
    """A picture; what it shows says its alternative text, which comes with it (`_shown`)."""
    return gr.Image(
        format="png",
        elem_id=name,
        elem_classes="picture",
        show_label=False,
        container=False,
        buttons=[],
        interactive=False,
        alt_text=name,
    )


def _shown(pixels, words):
    return gr.Image(pixels, alt_text=words)


def _message():
    return gr.HTML("", html_template=MESSAGE, elem_classes="message")


def _samples_part(view):
    with gr.Row(equal_height=True):
        seed = gr.Textbox(
            "0", label="First seed", max_lines=1, elem_id="seed", scale=2, min_width=120
        )
        count = gr.Radio(COUNTS, value=25, label="Images", elem_id="count", scale=3, min_width=350)
    message = _message()
    with gr.Row():
        chosen_class = gr.Dropdown(
            [(IN_TURN, IN_TURN), *view.choices] if view.classes else [],
            value=IN_TURN if view.classes else None,
            label="Class",
            visible=bool(view.classes),
        )
        psi = gr.Slider(0.0, 1.0, 1.0, label="Truncation psi", visible=view.truncates, buttons=[])
        truncation_z = gr.Slider(
            0.25,
            WIDEST,
            WIDEST,
            step=0.25,
            label=f"Truncation of z ({WIDEST:g}: none)",
            elem_id="truncation_z",
            visible=not view.truncates,
            buttons=[],
        )
    with gr.Row():
        generate = gr.Button("Generate", variant="primary", elem_id="generate")
        anywhere = gr.Button("Random seed", elem_id="random")
        download = gr.DownloadButton("Download PNG", elem_id="download")
    picture = _picture("samples")
    pick = gr.Slider(
        1, 25, 1, step=1, label="Image to look at", elem_id="pick", buttons=[], interactive=True
    )
    return {
        "seed": seed,
        "count": count,
        "class": chosen_class,
        "psi": psi,
        "truncation_z": truncation_z,
        "generate": generate,
        "random": anywhere,
        "download": download,
        "message": message,
        "picture": picture,
        "pick": pick,
        "images": gr.State(time_to_live=SHOWN_S),
        "first": gr.State(0, time_to_live=SHOWN_S),
    }


def _closer_part(view):
    sides = list(view.heads)
    shown = bool(sides)
    seed = gr.Textbox("0", label="Seed", max_lines=1, elem_id="chosen")
    side = gr.Radio(
        [(f"{side} x {side}", side) for side in sides],
        value=sides[0] if shown else None,
        label="Resolution",
        visible=shown,
    )
    head = gr.Radio(
        _heads(view, sides[0]) if shown else [],
        value=1 if shown else None,
        label="Head",
        elem_id="head",
        visible=shown,
    )
    message, picture = _message(), _picture("closer")
    if shown:
        gr.Markdown("The image, and where this head looks: bright where its weight is largest.")
    return {"seed": seed, "side": side, "head": head, "message": message, "picture": picture}


def _heads(view, side):
    return list(range(1, view.heads[side] + 1))


def _between_part():
    with gr.Row():
        start = gr.Textbox("0", label="From seed", max_lines=1, elem_id="start", min_width=100)
        end = gr.Textbox("1", label="To seed", max_lines=1, elem_id="end", min_width=100)
    position = gr.Slider(
        0, STEPS, STEPS // 2, step=1, label="Position (%)", elem_id="position", buttons=[]
    )
    return {
        "start": start,
        "end": end,
        "position": position,
        "message": _message(),
        "picture": _picture("between"),
    }


def _directions_part(view):
    seed = gr.Textbox("0", label="Seed to move", max_lines=1, elem_id="origin")
    gr.Markdown(
        "The strongest first, in standard deviations of what it changes in tokens or styles."
    )
    steps = [
        gr.Slider(
            -FARTHEST,
            FARTHEST,
            0.0,
            step=0.25,
            label=f"Direction {number}",
            elem_id=f"direction_{number}",
            buttons=[],
        )
        for number in range(1, view.directions + 1)
    ]
    back = gr.Button("Back to the seed", elem_id="back")
    message, picture = _message(), _picture("moved")
    return {"seed": seed, "steps": steps, "back": back, "message": message, "picture": picture}


class _Handlers:
    """What each control shows. Nothing of a visitor is kept here: the images are in the page."""

    def __init__(self, view, folder):
        self.view, self.folder = view, folder

    def limit(self, truncation_z):
        """What a slider of truncation means."""
        return None if self.view.truncates or truncation_z == WIDEST else truncation_z

    def samples(self, seed, count, chosen_class, psi, truncation_z):
        if count not in COUNTS:
            raise InputError(f"The number of images {count!r} is not one of {COUNTS}.")
        count, limit = int(count), self.limit(truncation_z)  # 4.0 is one of them
        images, first = self.view.samples(seed, count, chosen_class, psi, limit)
        kind = f"_class_{chosen_class}" if chosen_class is not None else ""
        kind += f"_psi_{psi:g}" if self.view.truncates else ""
        kind += f"_truncation_{truncation_z:g}" if limit else ""
        path = self.folder / f"seeds_{first}-{first + count - 1}{kind.replace(' ', '_')}.png"
        pictures.save_png(path, pictures.grid(images, pictures.square_columns(count)))
        picture = self.framed(images, first, 0, chosen_class)
        # Gradio refuses a slider from 1 to 1; `pick` takes no number beyond the count.
        slider = gr.Slider(1, max(2, count), value=1, visible=count > 1)
        return picture, images, first, str(path), slider, str(first)

    def framed(self, images, first, index, chosen_class):
        words = self.view.words(first, len(images), index, chosen_class)
        return _shown(framed_grid(images, index), words)

    def choose(self, images, first, chosen_class, event: gr.SelectData):
        # None: forgotten, too long ago, or too many visitors since. A key has no place in the grid.
        place = event.index
        known = isinstance(place, list) and [type(part) for part in place] == [int, int]
        index = index_at(*place, images) if known and images is not None else None
        if index is None:
            return [gr.skip()] * 3
        return self.framed(images, first, index, chosen_class), index + 1, str(first + index)

    def pick(self, images, first, chosen_class, number):
        if images is None or number not in range(1, len(images) + 1):
            return [gr.skip()] * 2
        index = int(number) - 1
        return self.framed(images, first, index, chosen_class), str(first + index)

    def closer(self, seed, chosen_class, psi, side, head, truncation_z):
        words = self.view.words(seed, 1, None, chosen_class)
        words += f", and where head {head} looks at {side} x {side}" if self.view.heads else ""
        limit = self.limit(truncation_z)
        return _shown(self.view.look(seed, chosen_class, psi, side, head, limit), words)

    def moved(self, seed, chosen_class, psi, truncation_z, *steps):
        pixels = self.view.moved(seed, steps, chosen_class, psi, self.limit(truncation_z))
        far = [f"{step:g} along direction {k}" for k, step in enumerate(steps, 1) if step]
        return _shown(pixels, ", ".join([self.view.words(seed, 1, None, chosen_class), *far]))

    def between(self, start, end, position, chosen_class, psi, truncation_z):
        limit = self.limit(truncation_z)
        pixels = self.view.between(start, end, position, chosen_class, psi, limit)
        kind = self.view.class_words(start, chosen_class)
        return _shown(pixels, f"{position:g} % of the way from seed {start} to seed {end}{kind}")


def _connect(handlers, blocks, samples, closer, between, directions):
    """What each control does."""
    chosen, within = [samples["class"], samples["psi"]], samples["truncation_z"]
    view, answer = handlers.view, functools.partial(_answer, line=_Line())
    look = answer(
        handlers.closer,
        [closer["seed"], *chosen, closer["side"], closer["head"], within],
        closer,
        [closer["picture"]],
        "look",
    )
    walk = answer(
        handlers.between,
        [between["start"], between["end"], between["position"], *chosen, within],
        between,
        [between["picture"]],
        "between",
    )
    go = answer(
        handlers.moved,
        [directions["seed"], *chosen, within, *directions["steps"]],
        directions,
        [directions["picture"]],
        "moved",
    )
    outputs = [samples[k] for k in ("picture", "images", "first", "download", "pick")]
    show = answer(
        handlers.samples,
        [samples["seed"], samples["count"], *chosen, within],
        samples,
        [*outputs, closer["seed"]],
        "samples",
    )
    again = [
        samples["generate"].click,
        samples["seed"].submit,
        samples["count"].change,
        samples["class"].change,
        samples["psi"].release,
        samples["truncation_z"].release,
    ]
    first = gr.on([blocks.load, *again], **show).then(**look).then(**walk)
    if view.directions:
        first.then(**go)
        gr.on([directions["seed"].submit, *(s.change for s in directions["steps"])], **go)
        directions["back"].click(
            lambda: [0.0] * view.directions, None, directions["steps"], queue=False
        )
    roll = samples["random"].click(
        lambda: str(random.randrange(10**6)), None, samples["seed"], queue=False
    )
    roll.then(**show).then(**look)
    grid = [samples["images"], samples["first"], samples["class"]]
    click = samples["picture"].select(
        handlers.choose,
        grid,
        [samples["picture"], samples["pick"], closer["seed"]],
        api_name="choose",
        queue=False,
    )
    key = samples["pick"].input(
        handlers.pick,
        [*grid, samples["pick"]],
        [samples["picture"], closer["seed"]],
        api_name="pick",
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
    )
    click.then(**look)
    key.then(**look)
    if view.heads:
        closer["side"].change(
            lambda side: gr.Radio(_heads(view, side), value=1),
            closer["side"],
            closer["head"],
            queue=False,
        ).then(**look)
    gr.on([closer["seed"].submit, closer["head"].input], **look)
    gr.on([between["start"].submit, between["end"].submit, between["position"].change], **walk)


class _Line(asyncio.Lock):
    """Where answers wait for their turn; `asked` of them are there, with the one that is made."""

    asked = 0


def _answer(handler, inputs, part, outputs, name, line):
    """Arguments of a listener: what a handler refuses is shown, and the pictures stay.

    Not by Gradio's queue, whose page loses a click that it makes while the end of the stream of
    earlier answers is on its way, and waits for ever; `line` lets one in at a time instead, and
    nobody who left.
    """

    def refusal(words):
        return words and f"<p>{html.escape(words)}</p>", *[gr.skip()] * len(outputs)

    async def answer(request: gr.Request, *values):
        if line.asked >= ANSWERS:
            return refusal("Too many visitors wait already; try again later.")
        line.asked += 1
        try:
            async with line:
                if await request.request.is_disconnected():
                    return refusal("")
                results = await asyncio.to_thread(handler, *values)
        except InputError as error:
            return refusal(str(error))
        except asyncio.CancelledError:  # at the end; Gradio would print a traceback of each
            raise gr.Error("The page has ended.", print_exception=False) from None
        finally:
            line.asked -= 1
        return "", *(results if isinstance(results, tuple) else (results,))

    return {
        "fn": answer,
        "inputs": inputs,
        "outputs": [part["message"], *outputs],
        "api_name": name,
        "queue": False,
        "show_progress": "hidden",
        "trigger_mode": "always_last",
    }
