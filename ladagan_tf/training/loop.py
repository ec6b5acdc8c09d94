"""The loop around `train_step`."""

import keras
import tensorflow as tf


def run_steps(model, stream, steps, callbacks):
    """Runs `model.train_step` on `steps` batches, with Keras callbacks around each.

    `Model.fit` would do, but under a strategy it takes one batch from the stream to build a model
    that is built already, which shifts the order of the data and fails with several workers.

    Args:
        model: AdversarialModel, built and compiled in its strategy's scope.
        stream: tf.distribute.DistributedDataset of (images, labels); endless.
        steps: int.
        callbacks: list of keras.callbacks.Callback; setting `model.stop_training` ends the loop.
    """
    strategy = model.distribute_strategy

    @tf.function
    def step(iterator):
        strategy.run(model.train_step, args=(next(iterator),))

    model.stop_training = False
    around = keras.callbacks.CallbackList(callbacks, model=model)
    iterator = iter(stream)
    around.on_train_begin()
    try:
        for batch in range(steps):
            step(iterator)
            around.on_train_batch_end(batch)
            if model.stop_training:
                break
    finally:
        around.on_train_end()
