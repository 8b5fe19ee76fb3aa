"""One profile of hypothesis for all tests: the examples are quick, the machine that runs them may be busy.

`make test` tries the same examples in every run, so that a red run is about the change; `make test-all` explores.
"""

import os
import signal

from hypothesis import HealthCheck, settings

from kvstore import compiled

settings.register_profile(
    "pilothouse",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize="PILOTHOUSE_EXPLORE" not in os.environ,
    database=None,
    print_blob=True,
)
settings.load_profile("pilothouse")


# a shell starts what runs in its background with SIGINT ignored, and children inherit that: those under test must not
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say which build of the store is tested."""
    return f"kvstore: {compiled.build()}"
