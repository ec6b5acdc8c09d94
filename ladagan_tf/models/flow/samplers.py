"""Samplers of dx/dt = v(x, t): steps that a velocity is followed in, from t = 0 to t = 1."""


def euler(velocity, x, t, h):
    """One step of first order: x + h v(x, t).

    Args:
        velocity: function from x and t to dx/dt, of the shape of x.
        x: float tensor.
        t: float scalar, the time of x.
        h: float, the step.

    Returns:
        x at t + h, up to O(h^2).
    """
    return x + h * velocity(x, t)


def heun(velocity, x, t, h):
    """One step of second order: by the mean of the velocities at both ends of an Euler step.

    Args:
        velocity, x, t, h: see `euler`.

    Returns:
        x at t + h, up to O(h^3).
    """
    first = velocity(x, t)
    second = velocity(x + h * first, t + h)
    return x + (0.5 * h) * (first + second)


# By the name of --sampler: a step, and how often it evaluates the velocity.
SAMPLERS = {"euler": (euler, 1), "heun": (heun, 2)}
MOST_STEPS = 10_000
PREDICTIONS = ("velocity", "data")  # what a network makes, of which the velocity follows


def evaluations(sampler, steps):
    """How often a sample evaluates the velocity: int.

    Args:
        sampler: name in `SAMPLERS`.
        steps: int.
    """
    return SAMPLERS[sampler][1] * steps
