"""Speed is reported per batch size, memory with what it is of."""

from ladagan_tf.cost.speed import measure_speed, speed_report


def test_every_batch_size_is_timed(noise):
    rows = measure_speed(noise, (1, 3), repeats=1)
    assert [row["batch_size"] for row in rows] == [1, 3]
    for row in rows:
        assert row["images_per_s"] * row["latency_ms"] / 1000 == row["batch_size"] or (
            abs(row["images_per_s"] * row["latency_ms"] / 1000 - row["batch_size"]) < 1e-6
        )


def test_the_report_names_throughput_and_memory(noise):
    text = speed_report(noise, batch_sizes=(2,), repeats=1)
    assert "images/s" in text and "peak memory of this process" in text
