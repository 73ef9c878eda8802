"""A process that has imported what commands of geoseg import, and forks a process for each command.

`tests.processes` starts it. It starts no thread and opens no data, so its children are what a new interpreter
is after its imports, which take two of the three seconds of a small run.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys

from geoseg.core.process import configure_process

MODULES = (
    "openvino", "scipy.linalg.cython_blas", "matplotlib.backends.backend_agg", "pyarrow.pandas_compat",
    "typer._adapters", "typer.rich_utils", "distributed.cli.dask_scheduler", "distributed.cli.dask_worker",
    "distributed.dashboard", "distributed.http.scheduler.missing_bokeh", "geoseg.cli.app",
    "geoseg.cli.show", "geoseg.inference.clusters", "geoseg.models.backends.load",
    "geoseg.models.backends.openvino_segmenter", "geoseg.report.quicklook", "geoseg.runs.page",
    "geoseg.runs.run", "geoseg.runs.validate", "geoseg.vector.vectorize",
)  # fmt: skip
"""What a run imports, whose modules import more."""


def serve(requests: socket.socket) -> dict:
    """Fork a process for each request, in which this returns the request; end when the tests end."""
    while True:
        data, files, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        _reap()
        if not data:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            become(*files)
            return json.loads(data)
        for file in files:
            os.close(file)


def _reap() -> None:
    """Let processes go that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def become(out: int, err: int, answers: int) -> None:
    """Fork the process of the command, which says who it is, and returns; its parent says how it ended."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os.write(answers, os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
        os._exit(0)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    # Not before the session is its own: the tests may signal that at once.
    os.write(answers, os.getpid().to_bytes(4, "little"))
    for file in (out, err, answers):
        os.close(file)


def main() -> None:
    """Import, serve, and be the module of the request as `python -m` would be."""
    configure_process()
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    for name in (*MODULES, *sys.argv[2:]):
        importlib.import_module(name)
    # What numba loads when the first kernel is called.
    import dask
    import matplotlib as mpl
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    gc.collect()
    gc.freeze()
    if "torch" in sys.modules:
        from geoseg.models.backends import openvino_model
        from tests import conversions

        openvino_model.subprocess = conversions  # type: ignore[assignment]
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path.insert(0, request["cwd"])
    dask.config.refresh()
    if backend := os.environ.get("MPLBACKEND"):
        mpl.rcParams["backend"] = backend
    sys.argv[1:] = request["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
