from ladagan_tf.evaluation.comparing import (
    density_coverage as density_coverage,
)
from ladagan_tf.evaluation.comparing import (
    evaluate as evaluate,
)
from ladagan_tf.evaluation.comparing import (
    frechet_distance as frechet_distance,
)
from ladagan_tf.evaluation.comparing import (
    inception_score as inception_score,
)
from ladagan_tf.evaluation.comparing import (
    kernel_distance as kernel_distance,
)
from ladagan_tf.evaluation.comparing import (
    perceptual_path_length as perceptual_path_length,
)
from ladagan_tf.evaluation.comparing import (
    precision_recall as precision_recall,
)
from ladagan_tf.evaluation.comparing import (
    sliced_wasserstein_distance as sliced_wasserstein_distance,
)

QUICK_METRICS: tuple[str, ...]
