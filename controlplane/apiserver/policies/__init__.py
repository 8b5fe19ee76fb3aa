"""Admission by rules that stand in the cluster itself: ValidatingAdmissionPolicy and its bindings, in CEL.

binding.py      which policies meet an operation, with which parameters
validating.py   the admission plugin: variables, validations, what becomes of a broken one (Deny, Warn, Audit)
"""
