"""/version: kubectl, helm and clients compare it with their own."""

import platform
import re
from typing import Any, Final

GIT_VERSION: Final = "v1.37.0+pilothouse"


def version_info(git_version: str = GIT_VERSION) -> dict[str, Any]:
    """The version document; `major` and `minor` are numbers as text. Raises ValueError for another form of version."""
    found = re.match(r"v(\d+)\.(\d+)\.", git_version)
    if found is None:
        raise ValueError(f"not a version: {git_version}")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": found.group(1),
        "minor": found.group(2),
        "emulationMajor": found.group(1),
        "emulationMinor": found.group(2),
        "minCompatibilityMajor": found.group(1),
        "minCompatibilityMinor": str(int(found.group(2)) - 1),
        "gitVersion": git_version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"none (Python {platform.python_version()})",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{machine}",
    }
