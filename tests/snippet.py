"""Run code that is the first argument, with the others as `sys.argv[1:]`; see `tests.processes.run_code`."""

import sys

exec(sys.argv.pop(1))  # noqa: S102 (the code of a test)
