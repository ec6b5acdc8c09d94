"""Options, the recorded sets as fixtures, and the guard that no proof is skipped unnoticed."""

import functools
import gc
import os
import re
import signal
import sys

import golden_sets
import pytest

# Programs run once or twice here: LLVM's optimisations cost more than they give, and of two ways in
# which XLA emits loops the older one compiles networks in half of the time.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
# Who starts the tests in the background of a script, or with nohup, has these ignored, and what is
# ignored stays so (`ladagan_tf.stopping`): tests that send them would wait for nothing.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
gc.set_threshold(50_000)  # tracing makes millions of objects that stay: a twentieth of the time

# What a complete environment may lack: a machine's abilities, a browser, npm's registry.
EXPECTED_SKIPS = re.compile("no Chromium|no npm registry|Linux limits cores by process")
unexpected_skips = {}  # node to reason; with pytest-xdist every worker collects, and reports it


def pytest_configure(config):
    config.option.loadscopereorder = False  # of pytest-xdist, which would start long files last


def pytest_collection_modifyitems(items):
    """Files with slow tests first: short ones fill what is left of the time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    gc.freeze()  # TensorFlow, Keras and the tests stay: another twentieth is to look at them again
    if saving := sys.modules.get("keras.src.saving.saving_lib"):
        # Keras 3.15 keeps it under one name and looks under another: a layer more for each layer of
        # a .keras file, a fifth of the time of files that read many.
        saving.get_attr_skipset = functools.cache(saving.get_attr_skipset)
    if sys.modules.get("tensorflow"):  # some tests need none
        from tensorflow.python.eager import context

        # `keras.utils.clear_session` forgets kernels too, each a millisecond to make again and ten
        # times as long as to use it: a tenth of a run without graphs behind another.
        context.Context.clear_kernel_cache = lambda self: None


def pytest_addoption(parser):
    # Not `--fixtures`: pytest has a flag of that name, which takes no value and cannot be replaced.
    parser.addoption("--fixtures-dir", default=None, help="folder of another recorded set")
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="fail if anything is skipped for another reason than hardware, Chromium or npm",
    )


# With pytest-xdist, workers send both kinds of reports to the process that decides and prints.
def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2]
        if not EXPECTED_SKIPS.search(reason):
            unexpected_skips[report.nodeid] = reason


pytest_collectreport = pytest_runtest_logreport  # a whole file may be skipped


def pytest_sessionfinish(session):
    if unexpected_skips and session.config.getoption("--strict-skips") and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if unexpected_skips and config.getoption("--strict-skips"):
        terminalreporter.section("skipped, but not for hardware, Chromium or npm")
        for node, reason in unexpected_skips.items():
            terminalreporter.write_line(f"{node}: {reason}")


@pytest.fixture(scope="session")
def fixtures_dir(pytestconfig):
    """Folder of LadaGAN's recorded arrays: `--fixtures-dir=DIR`, else tests/golden/ladagan."""
    return golden_sets.find(pytestconfig, "ladagan")


@pytest.fixture(scope="session")
def gat_dir(pytestconfig):
    """Folder of GAT's recorded arrays: `--fixtures-dir=DIR`, else tests/golden/gat."""
    return golden_sets.find(pytestconfig, "gat")


@pytest.fixture(scope="session")
def oracle_dir(pytestconfig):
    """Folder of the numerical oracle: `--fixtures-dir=DIR`, else tests/golden/oracle."""
    return golden_sets.find(pytestconfig, "oracle")


@pytest.fixture(scope="session")
def gat_checkpoint(tmp_path_factory):
    """An official training checkpoint of GAT, with the weights of tests/golden/gat."""
    path = tmp_path_factory.mktemp("official") / "latest.pt"
    golden_sets.fill_checkpoint(path)
    return path


@pytest.fixture
def eagerly():
    """Without graphs: to trace the step of a network takes longer than to run it twice."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def tiny_gat():
    """`DecodedGenerator` of `tiny_gat.make_network`."""
    from tiny_gat import make_network  # not above: some tests need no TensorFlow

    return make_network()


@pytest.fixture(scope="session")
def tiny_gat_run(tiny_gat, tmp_path_factory):
    """The path of a run of `tiny_gat`, see `tiny_gat.make_run`."""
    from tiny_gat import make_run

    return make_run(tmp_path_factory.mktemp("gat") / "run", tiny_gat)
