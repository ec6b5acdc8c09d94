from ladagan_tf.sampling.opening import load as load
from ladagan_tf.sampling.stream import (
    image_dataset_from_generator as image_dataset_from_generator,
)

__version__: str

def offering(package: str, offered: dict) -> tuple: ...
