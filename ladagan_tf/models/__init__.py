"""Networks only: keras.ops, no training, no files, no flags."""

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")  # Keras dtype policies to compute in
