"""What a scenario saw, step by step, as one JSON object on standard output. Runs in the library's own environment."""

import json


class Outcomes:
    def __init__(self):
        self.seen = {}

    def note(self, step, value):
        self.seen[step] = _plain(value)

    def attempt(self, step, action):
        """The answer of `action`, or the type and words of its error."""
        try:
            self.note(step, action())
        except Exception as error:
            self.note(step, [type(error).__name__, _words(error)])

    async def attempt_async(self, step, awaitable):
        try:
            self.note(step, await awaitable)
        except Exception as error:
            self.note(step, [type(error).__name__, _words(error)])

    def tell(self):
        print(json.dumps(self.seen))


def _words(error):
    details = getattr(error, "details", None)
    return details() if callable(details) else str(error)


def _plain(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{value!r} cannot be compared: note a part of it")
