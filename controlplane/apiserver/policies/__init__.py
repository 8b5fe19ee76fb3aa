"""Admission by rules that stand in the cluster itself: ValidatingAdmissionPolicy and MutatingAdmissionPolicy, in CEL.

binding.py      which policies meet an operation, with which parameters
evaluation.py   expressions on one operation
mutating.py     the admission plugin: apply configurations and JSON patches, reinvocation
validating.py   the admission plugin: variables, validations, what becomes of a broken one (Deny, Warn, Audit)
"""
