"""Images on a disk to batches on a device."""
