"""Static tokens: the CSV file of --token-auth-file, `token,user,uid,"group1,group2"`, read once at the start."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.apiserver.authn.user import AUTHENTICATED, User

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services


def _digest(token: str) -> bytes:
    # Tokens are looked up by their digest: how long that takes tells nothing about how much of a guess was right.
    return hashlib.sha256(token.encode()).digest()


class StaticTokens:
    """Users by token. ValueError for a file that is not of this form."""

    def __init__(self, path: Path) -> None:
        self._users: dict[bytes, User] = {}
        with path.open(newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                fields = [field.strip() for field in row]
                if not any(fields) or fields[0].startswith("#"):
                    continue
                if len(fields) < 3 or not fields[0] or not fields[1]:
                    raise ValueError(f"{path}:{number}: not token,user,uid and perhaps groups")
                groups = [group.strip() for group in fields[3].split(",") if group.strip()] if len(fields) > 3 else []
                if AUTHENTICATED not in groups:
                    groups.append(AUTHENTICATED)
                self._users[_digest(fields[0])] = User(fields[1], tuple(groups), fields[2])

    async def user_of(self, services: Services, token: str, audiences: Sequence[str]) -> User | None:
        """The user of a token of the file."""
        return self._users.get(_digest(token))
