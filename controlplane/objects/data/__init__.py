"""Package data made at build by generate.py from kubernetes-validate and lightkube-models."""
