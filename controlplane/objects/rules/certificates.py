"""Rules for CertificateSigningRequests: what is asked, and how an answer may grow."""

import re
from typing import Any, Final

from controlplane.objects import certificates
from controlplane.objects.rules.rule import Errors, Object, Rules, each, no_rules, unique
from controlplane.objects.status import FieldError

LEAST_SECONDS: Final = 600
LAST_WORDS: Final = ("Approved", "Denied", "Failed")  # conditions that stay once they are there
_SIGNER: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[^/]+(\.[^/]+)*")
_SIGNER_WORDS: Final = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


def _asked(obj: Object) -> Errors:
    """What holds at creation."""
    spec: Object = obj.get("spec") or {}
    errors: Errors = []
    if not spec.get("request"):
        errors.append(FieldError.required("spec.request"))
    elif certificates.parsed_request(spec["request"]) is None:
        words = "unable to parse csr: PEM block type must be CERTIFICATE REQUEST, with a valid signature"
        errors.append(FieldError.invalid("spec.request", spec["request"], words))
    if not spec.get("usages"):
        errors.append(FieldError.required("spec.usages"))
    for path, usage in each(spec, "usages", "spec"):
        if usage not in certificates.USAGES:
            errors.append(FieldError.not_supported(path, usage, sorted(certificates.USAGES)))
    errors += unique(each(spec, "usages", "spec"))
    signer = spec.get("signerName")
    if not signer:
        errors.append(FieldError.required("spec.signerName"))
    elif signer == certificates.LEGACY:
        words = "the legacy signerName is not allowed via this API version"
        errors.append(FieldError.invalid("spec.signerName", signer, words))
    elif not _SIGNER.fullmatch(signer):
        errors.append(FieldError.invalid("spec.signerName", signer, _SIGNER_WORDS))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < LEAST_SECONDS:
        words = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(FieldError.invalid("spec.expirationSeconds", seconds, words))
    return errors


def _conditions(obj: Object) -> dict[str, Object]:
    return {each.get("type", ""): each for each in (obj.get("status") or {}).get("conditions") or ()}


def _answered(new: Object, old: Object) -> Errors:
    """What holds for conditions, whoever writes them."""
    errors: Errors = []
    for path, condition in each(new.get("status") or {}, "conditions", "status"):
        kind, value = condition.get("type"), condition.get("status")
        if not kind:
            errors.append(FieldError.required(f"{path}.type"))
        if not value:
            errors.append(FieldError.required(f"{path}.status"))
        elif kind in LAST_WORDS and value != "True":
            errors.append(FieldError.not_supported(f"{path}.status", value, ("True",)))
    errors += unique((path, one.get("type")) for path, one in each(new.get("status") or {}, "conditions", "status"))
    before, after = _conditions(old), _conditions(new)
    if {"Approved", "Denied"} <= after.keys():
        conditions: Any = list(after)
        words = "Approved and Denied conditions are mutually exclusive"
        errors.append(FieldError.invalid("status.conditions", conditions, words))
    for kind in LAST_WORDS:
        if kind in before and kind not in after:
            words = f'updates may not remove a condition of type "{kind}"'
            errors.append(FieldError.forbidden("status.conditions", words))
    return errors


def _approved(new: Object, old: Object) -> Errors:
    """A write of /approval."""
    errors = _answered(new, old)
    if "Failed" in _conditions(new).keys() - _conditions(old).keys():
        errors.append(FieldError.forbidden("status.conditions", 'updates may not add a condition of type "Failed"'))
    return errors


def _signed(new: Object, old: Object) -> Errors:
    """A write of /status."""
    errors = _answered(new, old)
    for kind in sorted((_conditions(new).keys() - _conditions(old).keys()) & {"Approved", "Denied"}):
        errors.append(FieldError.forbidden("status.conditions", f'updates may not add a condition of type "{kind}"'))
    before, after = ((obj.get("status") or {}).get("certificate") for obj in (old, new))
    if before and before != after:
        errors.append(FieldError.forbidden("status.certificate", "updates may not modify an issued certificate"))
    elif after and not certificates.is_certificate(after):
        words = "must be a PEM encoded certificate"
        errors.append(FieldError.invalid("status.certificate", "<certificate data>", words))
    return errors


RULES: Final[dict[tuple[str, str], Rules]] = {
    ("certificates.k8s.io", "certificatesigningrequests"): Rules(
        no_rules, subresources={"approval": _approved, "status": _signed}, create=_asked
    ),
}
