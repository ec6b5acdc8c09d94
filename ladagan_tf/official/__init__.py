"""The authors' checkpoints of both papers, read into ours and written back."""
