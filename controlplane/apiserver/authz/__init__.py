"""May they: role-based access control, and the roles and bindings that every cluster begins with.

attributes.py   what is asked: verb, resource, name, namespace, or a path
rules.py        one rule of a role, compiled            rbac.py       Authorizer: roles and bindings from watch caches
bootstrap.py    the default policy (data/policy.json) as objects
"""
