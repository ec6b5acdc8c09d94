"""Intervals fall on the right steps, a bad run writes nothing, a stopped one saves itself."""

import signal

import keras
import numpy as np
import pytest

from ladagan_tf.errors import DivergenceError, InputError
from ladagan_tf.training.callbacks import Checkpointing, FiniteGuard, Schedule


def due_steps(schedule, kimg):
    return [step for step in range(1, schedule.total_steps + 1) if schedule.due(step, kimg)]


def test_an_interval_is_due_at_the_first_step_that_reaches_a_multiple():
    assert due_steps(Schedule(batch_size=300, start_step=0, total_steps=10), 1.0) == [4, 7, 10]


def test_the_last_step_is_always_due():
    assert due_steps(Schedule(batch_size=8, start_step=0, total_steps=5), 1000.0) == [5]


def test_an_interval_shorter_than_a_batch_is_due_at_every_step():
    assert due_steps(Schedule(batch_size=8, start_step=0, total_steps=3), 0.001) == [1, 2, 3]


def test_steps_count_from_the_start_of_the_run():
    schedule = Schedule(batch_size=8, start_step=20, total_steps=40)
    assert schedule.step(0) == 21
    assert schedule.images(21) == 168


class FakeModel:
    steadied_by = "Lower --g_lr"

    def __init__(self, bad_step, weight):
        self.bad_step = np.int64(bad_step)
        network = keras.Sequential([keras.layers.Dense(1)])
        network.build((None, 1))
        network.set_weights([np.full((1, 1), weight), np.zeros(1)])
        self.networks = {"generator": network}


class NoCheckpoints:
    def paths(self):
        return []


def guard(model):
    guard = FiniteGuard(Schedule(8, 0, 10), (0.008,), NoCheckpoints())
    guard.set_model(model)
    return guard


def test_a_finite_run_passes_the_guard():
    guard(FakeModel(bad_step=-1, weight=1.0)).check_weights(3)


def test_a_bad_step_stops_the_run_naming_step_and_advice():
    with pytest.raises(
        DivergenceError, match=r"at step 8; there is no checkpoint yet. Lower --g_lr"
    ):
        guard(FakeModel(bad_step=7, weight=1.0)).on_train_batch_end(0)


def test_an_overflowed_weight_stops_the_run_before_it_is_saved():
    with pytest.raises(DivergenceError, match=r"kernel.* is NaN or infinite after step 3"):
        guard(FakeModel(bad_step=-1, weight=np.inf)).check_weights(3)


class Saves(NoCheckpoints):
    def __init__(self):
        self.saved = []

    def save(self, step, images):
        self.saved.append((step, images))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_running_step_finish_saves_and_stops(number):
    usual, checkpoints, model = signal.getsignal(number), Saves(), FakeModel(-1, weight=1.0)
    saving = Checkpointing(Schedule(8, 0, 10), checkpoints, guard(model), kimg=1000.0)
    saving.set_model(model)
    saving.on_train_begin()
    try:
        saving.on_train_batch_end(0)
        assert checkpoints.saved == []
        signal.raise_signal(number)
        assert signal.getsignal(number) == usual  # a second one has its usual effect
        saving.on_train_batch_end(1)
    finally:
        saving.on_train_end()
    assert checkpoints.saved == [(2, 16)]
    assert model.stop_training and saving.stopped_by == number.name


def test_a_run_that_nobody_hears_any_more_saves_and_stops():
    checkpoints, model, heard = Saves(), FakeModel(-1, weight=1.0), iter([True, False])
    saving = Checkpointing(
        Schedule(8, 0, 10), checkpoints, guard(model), 1000.0, heard=lambda: next(heard)
    )
    saving.set_model(model)
    for batch in range(2):
        saving.on_train_batch_end(batch)
    assert checkpoints.saved == [(2, 16)]
    assert model.stop_training and saving.stopped_by == "a closed pipe"


def test_nothing_is_saved_of_a_run_whose_set_is_another_now():
    checkpoints, model = Saves(), FakeModel(-1, weight=1.0)

    def check():
        raise InputError("a/set: another set took its place")

    saving = Checkpointing(Schedule(8, 0, 1), checkpoints, guard(model), 1000.0, check=check)
    saving.set_model(model)
    with pytest.raises(InputError, match="another set"):
        saving.on_train_batch_end(0)
    assert checkpoints.saved == []


def test_a_signal_in_the_last_step_leaves_a_finished_run():
    checkpoints, model = Saves(), FakeModel(-1, weight=1.0)
    saving = Checkpointing(
        Schedule(8, 0, 1), checkpoints, guard(model), 1000.0, any_told=lambda _: True
    )
    saving.set_model(model)
    saving.on_train_batch_end(0)
    assert checkpoints.saved == [(1, 8)] and saving.stopped_by is None


def test_a_signal_to_another_worker_saves_and_stops_this_one_too():
    checkpoints, model, told = Saves(), FakeModel(-1, weight=1.0), iter([False, True])
    saving = Checkpointing(
        Schedule(8, 0, 10), checkpoints, guard(model), 1000.0, any_told=lambda _: next(told)
    )
    saving.set_model(model)
    model.stop_training = False
    saving.on_train_batch_end(0)
    assert checkpoints.saved == [] and not model.stop_training
    saving.on_train_batch_end(1)
    assert checkpoints.saved == [(2, 16)]
    assert model.stop_training and saving.stopped_by == "a signal to another worker"
