"""Custom resource definitions, their objects, CEL rules, webhooks."""
