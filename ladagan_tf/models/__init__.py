"""Networks only: keras.ops, no training, no files, no flags."""
