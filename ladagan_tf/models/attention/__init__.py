"""LadaGAN's additive attention and its rivals: tokens (B, N, D) to tokens and where they look.

Each is a layer of one interface, see `kinds.make_attention`.
"""

ATTENTIONS = ("additive", "fastformer", "linformer", "swin", "swin_pair", "dot_product")
SCORES = ("full", "per_head")  # of additive attention
