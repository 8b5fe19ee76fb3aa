"""CEL, the language of rules in schemas, match conditions and policies: by Google's C++ library, an optional dependency.

    program.py       compile(text, names) -> Program; Program(**values) -> value; the only file that knows the library
    library.py       the functions that Kubernetes adds to the language
    authorizer.py    authorizer.group(...).resource(...).check(...)        messages.py   Object{...} written as a map
    values.py        JSON by a structural schema -> what a rule sees (times, escaped names)
    expressions.py   the expressions of an object of the API, compiled when it is written
    schema_rules.py  x-kubernetes-validations: check a definition's rules, evaluate them on an object

Without the library (`pip install 'pilothouse[cel]'`) nothing that contains a rule is accepted: it is never ignored.
"""
