"""Samplers of dx/dt = v(x, t): steps that a velocity is followed in, from t = 0 to t = 1.

At t = 1 a velocity no longer tells what noise is left: of a finished image E[x_1 - x_0 | x] is x.
The last step of heun takes the mean of that and of the velocity before, so half a step's noise,
h / 2 of the first, stays. Euler's last step removes it, as in Karras et al. 2022
(EDM, arXiv 2206.00364, Algorithm 1); but it contracts, too: what differs little becomes more alike.
"""


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


# By the name of --sampler: all steps but the last, and the last.
SAMPLERS = {"euler": (euler, euler), "heun": (heun, heun), "heun_euler": (heun, euler)}
EVALUATIONS = {euler: 1, heun: 2}  # of the velocity in a step
MOST_STEPS = 10_000
PREDICTIONS = ("velocity", "data")  # what a network makes, of which the velocity follows


def evaluations(sampler, steps):
    """How often a sample evaluates the velocity: int.

    Args:
        sampler: name in `SAMPLERS`.
        steps: int.
    """
    step, last = SAMPLERS[sampler]
    return (steps - 1) * EVALUATIONS[step] + EVALUATIONS[last]
