"""What an objective wants drawn at random, described without drawing it.

Objectives get their draws as arguments, so that one step can be replayed from recorded draws and
everything else can derive them from (seed, step).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Draw:
    """One random quantity per image: its distribution and its shape without the batch axis.

    `kind` is "normal" (standard), "uniform" (in [0, 1)) or "integers" (in [low, high)).
    """

    kind: str
    shape: tuple = ()
    low: int = 0
    high: int = 0

    @classmethod
    def normal(cls, *shape):
        return cls("normal", shape)

    @classmethod
    def uniform(cls, *shape):
        return cls("uniform", shape)

    @classmethod
    def integers(cls, low, high):
        return cls("integers", (), low, high)
