"""Many visitors of the demo page at once: so many wait, the others are told."""

import asyncio
import threading
import types

import numpy as np
import pytest

from ladagan_tf.serving.page_pictures import View

pytest.importorskip("gradio", reason="gradio is optional: the page is not tested")

from starlette.testclient import TestClient

from ladagan_tf.serving import page, page_server


class Visitor:
    """A request as Gradio hands it on."""

    def __init__(self):
        self.gone = False
        self.request = types.SimpleNamespace(is_disconnected=self._is_gone)

    async def _is_gone(self):
        return self.gone


@pytest.fixture
def ask(small, tmp_path, monkeypatch):
    """A function of the page, as Gradio calls it, that waits for `ask.goes_on`."""
    making, goes_on, made = threading.Event(), threading.Event(), []

    def between(self, *given):
        made.append(given)
        making.set()
        assert goes_on.wait(30.0)
        return np.zeros((32, 32, 3), np.uint8)

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(View, "between", between)
    (found,) = [f.fn for f in page.build(small, tmp_path).fns.values() if f.api_name == "between"]

    def ask(visitor):
        return found(visitor, "0", "1", 50, None, 1.0, 4.0)

    ask.making, ask.goes_on, ask.made = making, goes_on, made
    yield ask
    goes_on.set()


def test_so_many_visitors_wait_and_nothing_is_made_for_those_who_left(ask, monkeypatch):
    monkeypatch.setattr(page, "ANSWERS", 3)

    async def visit():
        visitors = [Visitor() for _ in range(3)]
        waiting = [asyncio.create_task(ask(visitor)) for visitor in visitors]
        await asyncio.to_thread(ask.making.wait, 30.0)
        refused = await ask(Visitor())
        visitors[1].gone = True
        ask.goes_on.set()
        await asyncio.gather(*waiting)
        return refused, await ask(Visitor())

    refused, welcome = asyncio.run(visit())
    assert refused[0] == "<p>Too many visitors wait already; try again later.</p>"
    assert welcome[0] == "" and len(ask.made) == 3  # the first, the third, and who came later


def test_visitors_who_wait_at_the_end_leave_no_traceback(ask):
    async def visit():
        waiting = [asyncio.create_task(ask(Visitor())) for _ in range(2)]
        await asyncio.to_thread(ask.making.wait, 30.0)
        for answer in waiting:
            answer.cancel()
        ask.goes_on.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    for error in asyncio.run(visit()):
        assert isinstance(error, page.gr.Error) and not error.print_exception


def test_only_mistakes_of_ours_leave_a_traceback(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    client = TestClient(page_server.make_app(small, tmp_path))
    session = {"session_hash": "a visitor"}

    def ask(name, *values, **more):
        body = {"data": values, **session, **more}
        return client.post(f"/gradio_api/run/{name}", json=body).status_code

    assert ask("between", "0", "1", "far", None, 1.0, 4.0) == 500
    assert ask("samples", "0", 5, None, 1.0, 4.0) == 500
    assert ask("samples", "0", 1.0, None, 1.0, 4.0) == 200
    for index in ("no place", [1.5, None], None):
        assert ask("choose", None, 0, None, event_data={"index": index, "value": 0}) == 200
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(View, "between", lambda *_: 1 / 0)
    assert ask("between", "0", "1", 50, None, 1.0, 4.0) == 500
    assert "ZeroDivisionError" in capsys.readouterr().err
