"""Property tests of the pure rooms: the same examples every time, and no deadline on a shared machine."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pure rooms", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("pure rooms")
