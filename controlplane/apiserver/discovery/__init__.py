"""Discovery: what the server serves, as documents made from the scheme. Pure: no request, no clock.

    legacy.py       api_versions(address)                 /api        APIVersions
                    api_group_list(groups)                /apis       APIGroupList
                    api_group(groups, group)              /apis/G     APIGroup, None for a group that is not served
                    api_resource_list(scheme, group, v)   /apis/G/V and /api/v1   APIResourceList, None when not served
    aggregated.py   group_discovery_list(scheme, core, version)      /api (core) and /apis: APIGroupDiscoveryList v2 or v2beta1
                    media_type(version): what the answer's Content-Type must say back
    version.py      version_info(git_version)             /version

`entity_tag(body)` is the ETag of an aggregated answer: send it with `Cache-Control: public` and `Vary: Accept`, and answer 304
to a request that carries it.
"""

import hashlib

from controlplane.apiserver.discovery.aggregated import group_discovery_list, media_type
from controlplane.apiserver.discovery.legacy import api_group, api_group_list, api_resource_list, api_versions
from controlplane.apiserver.discovery.version import version_info

__all__ = [
    "api_group",
    "api_group_list",
    "api_resource_list",
    "api_versions",
    "entity_tag",
    "group_discovery_list",
    "media_type",
    "version_info",
]


def entity_tag(body: bytes) -> str:
    """The quoted ETag of a document."""
    return f'"{hashlib.sha512(body).hexdigest().upper()}"'
