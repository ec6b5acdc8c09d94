"""The order in which images are visited: endless, shuffled anew each epoch, without state.

Permutations sort Philox draws. `tf.random.experimental.index_shuffle` would need no sorting, but
for up to 65,536 images it has only 256 permutations per seed word: epoch 256 would repeat epoch 0,
and seed 256 would be seed 0.
"""

import numpy as np
import tensorflow as tf

from ladagan_tf.data import records

# How far a streamed set is shuffled: enough that a batch of a few hundred is a fair sample of the
# shards being read, and few enough to be read in a moment before the first step.
BLOCK_RECORDS = 8192
_OPEN_SHARDS = 16
_LAST = np.iinfo(np.int64).max


def permutation(count, seed, epoch, block=0):
    """The permutation of [0, count) that belongs to `(seed, epoch, block)`.

    Args:
        count: int or int64 scalar.
        seed, epoch: int or int64 scalar >= 0.
        block: int or int64 scalar in [0, 2**31), for several permutations within one epoch.

    Returns:
        int32 tensor (count,).
    """
    # TensorFlow takes two words; this keeps three apart for 2**31 epochs.
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64) * 2**31 + block])
    draws = tf.random.stateless_uniform(
        [count], seeds, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )
    return tf.argsort(draws, stable=True)


def steps_from_memory(columns, batch_size, rows, seed, start_step):
    """Some rows of every step, of a set whose encoded records are in memory.

    Args:
        columns: dict as `records.parse` returns it, of tensors (n,).
        batch_size: int, global.
        rows: (first, last + 1), the rows of each global batch to return.
        seed, start_step: ints >= 0.

    Returns:
        Endless tf.data.Dataset, one element per step: dict of such tensors (rows,), and positions
        int64 (rows,).
    """
    count = len(columns["label"])

    def epoch_indices(epoch, skip):
        return tf.data.Dataset.from_tensor_slices(permutation(count, seed, epoch)).skip(skip)

    def step_rows(step, indices):
        indices = indices[rows[0] : rows[1]]
        position = step * batch_size + tf.range(*rows, dtype=tf.int64)
        return {field: tf.gather(column, indices) for field, column in columns.items()}, position

    steps = _endless_steps(epoch_indices, count, batch_size, start_step)
    return steps.map(step_rows).prefetch(tf.data.AUTOTUNE)


def steps_from_disk(info, fields, chosen, batch_size, rows, seed, start_step, memory_limit_bytes):
    """Some rows of every step, of a set that is read from disk in shuffled order.

    Each epoch reads the shards in an order of its own, several at a time, and shuffles blocks of
    the records that come. Both derive from (seed, epoch), and none of it from TensorFlow's global
    seed, which `Dataset.shuffle` would mix in. Starting inside an epoch skips what comes before
    within the shards that are open then, and reads nothing of those before them.

    Args:
        info: `dataset_info.DatasetInfo`.
        fields: names of the records' fields to return.
        chosen: int64 array, ascending indices of the records to use.
        batch_size, rows, seed, start_step: as for `steps_from_memory`.
        memory_limit_bytes: int; blocks are small enough for several to fit.

    Returns:
        As `steps_from_memory`.
    """
    size = block_size(info, memory_limit_bytes)
    mask = np.zeros(info.count, bool)
    mask[chosen] = True

    def epoch_records(epoch, skip):
        def shuffle_block(number, block):
            order = permutation(tf.size(block), seed, epoch, block=number + 1)
            return tf.gather(block, order)

        done, skip = divmod(skip, size)
        blocks = _shuffled_shards(info, mask, seed, epoch, done * size).batch(size)
        blocks = blocks.enumerate(start=done).map(shuffle_block).prefetch(1)
        return blocks.unbatch().skip(skip)

    def step_rows(step, serialised):
        position = step * batch_size + tf.range(*rows, dtype=tf.int64)
        return records.parse(serialised[rows[0] : rows[1]], fields), position

    steps = _endless_steps(epoch_records, len(chosen), batch_size, start_step)
    return steps.map(step_rows).prefetch(tf.data.AUTOTUNE)


def block_size(info, memory_limit_bytes):
    """How many records of a streamed set are shuffled together: an int."""
    record_bytes = max(1, info.total_bytes // info.count)
    # A block being read, one waiting, one being handed out, and room for copies between them.
    return int(np.clip(memory_limit_bytes // (4 * record_bytes), 1, BLOCK_RECORDS))


def _endless_steps(epoch_elements, count, batch_size, start_step):
    """Dataset of (step, batch) over endless epochs; `epoch_elements(epoch, skip)` is one epoch."""
    first_epoch, offset = divmod(start_step * batch_size, count)
    later = tf.data.Dataset.range(first_epoch + 1, _LAST)
    elements = epoch_elements(first_epoch, offset).concatenate(
        later.flat_map(lambda epoch: epoch_elements(epoch, 0))
    )
    return elements.batch(batch_size, drop_remainder=True).enumerate(start_step)


def _shuffled_shards(info, mask, seed, epoch, first):
    """Serialised records of one epoch: shards in shuffled order, interleaved, `mask` applied.

    From record `first` on, an int; where it is not 0, `epoch` is an int, too.
    """
    sizes = np.array([shard.records for shard in info.shards])
    starts = np.cumsum(sizes) - sizes
    order = permutation(len(sizes), seed, epoch)
    taken = tf.zeros_like(order)
    if first:
        chosen = [int(mask[starts[i] :][: sizes[i]].sum()) for i in order.numpy()]
        opened, taken = rest_of_interleaving(chosen, first, _OPEN_SHARDS)
        order = tf.gather(order, opened)

    def shard_records(shard, taken):
        path, start = tf.gather(info.shard_paths, shard), tf.gather(starts, shard)
        numbered = tf.data.TFRecordDataset(path).enumerate(start=start)
        if not mask.all():
            numbered = numbered.filter(lambda index, _: tf.gather(mask, index))
        return numbered.skip(tf.cast(taken, tf.int64)).map(lambda _, serialised: serialised)

    shards = tf.data.Dataset.from_tensor_slices((order, taken))
    return shards.interleave(shard_records, cycle_length=min(len(sizes), _OPEN_SHARDS))


def rest_of_interleaving(lengths, first, at_once):
    """What to interleave to go on where `Dataset.interleave` stands after some elements.

    Args:
        lengths: list of ints, of the data sets, in the order in which they are opened.
        first: int, how many elements have been taken, at most all.
        at_once: int, how many are interleaved at a time.

    Returns:
        Two int64 arrays of one length: which data sets to open, in order, and how many elements to
        skip of each.
    """
    places = [None] * min(len(lengths), at_once)  # [data set, elements taken]; None: empty
    waiting, turn, left = 0, 0, first  # `waiting` is the next data set to be opened
    while left:
        place = places[turn]
        if place is None and waiting < len(lengths):
            places[turn] = [waiting, 0]
            waiting += 1
            continue  # an element of it is still to be taken in this turn
        if turn == 0 and (None not in places or waiting == len(lengths)):
            # Rounds in which nothing is opened and nothing ends, all at once.
            used = [place for place in places if place]
            rounds = min(left // len(used), *(lengths[i] - taken for i, taken in used))
            for place in used:
                place[1] += rounds
            left -= rounds * len(used)
            if not left:
                break
            place = places[turn]
        if place and place[1] < lengths[place[0]]:
            place[1] += 1
            left -= 1
        else:
            places[turn] = None  # the next one is opened at its next turn
        turn = (turn + 1) % len(places)
    rest = []
    for place in places[turn:] + places[:turn]:
        if place is None and waiting < len(lengths):
            place, waiting = [waiting, 0], waiting + 1
        rest += [place] if place else []
    rest += [[i, 0] for i in range(waiting, len(lengths))]
    return tuple(np.array(rest, np.int64).reshape(-1, 2).T)
