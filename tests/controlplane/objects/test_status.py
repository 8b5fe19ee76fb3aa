"""Refusals in Kubernetes' words."""

from controlplane.objects import status
from controlplane.objects.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS
from controlplane.objects.status import ApiError, FieldError


def test_each_reason_has_its_code_and_words() -> None:
    cases = [
        (status.not_found(PODS, "x"), 404, "NotFound", 'pods "x" not found'),
        (status.already_exists(DEPLOYMENTS, "x"), 409, "AlreadyExists", 'deployments.apps "x" already exists'),
        (status.forbidden(PODS, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (status.forbidden(PODS, "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
        (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (status.timeout("slow"), 504, "Timeout", "Timeout: slow"),
        (status.internal_error("oops"), 500, "InternalError", "Internal error occurred: oops"),
    ]
    for error, code, reason, message in cases:
        assert (error.code, error.reason, error.message) == (code, reason, message)
        document = error.status()
        assert document["code"] == code
        again = ApiError.from_status(document)
        assert again.status() == document


def test_a_conflict_says_what_to_do() -> None:
    assert status.conflict(CONFIG_MAPS, "a").message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_invalid_lists_one_cause_plainly_and_several_in_brackets() -> None:
    one = FieldError.invalid("spec.replicas", -1, "must be greater than or equal to 0")
    two = FieldError.required("spec.selector")
    assert status.invalid(DEPLOYMENTS, "x", [one]).message == (
        'Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    both = status.invalid(DEPLOYMENTS, "x", [one, two])
    assert both.message.endswith("equal to 0, spec.selector: Required value]")
    assert both.details["causes"][1] == {
        "reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector",
    }  # fmt: skip
    assert both.details["kind"] == "Deployment"


def test_field_errors_show_their_value_as_json() -> None:
    assert FieldError.not_supported("a", "x", {"B", "A"}).body == 'Unsupported value: "x": supported values: "A", "B"'
    assert FieldError.duplicate("a", "x").body == 'Duplicate value: "x"'
    assert FieldError.too_long("a", 63).body == "Too long: may not be more than 63 bytes"
    assert FieldError.too_many("a", 5, 4).body == "Too many: 5: must have at most 4 items"
    assert FieldError.invalid("a", {"b": "c"}, "no").body == 'Invalid value: {"b":"c"}: no'
    assert FieldError.invalid("a", None, "no").body == 'Invalid value: "null": no'


def test_a_resource_version_of_the_future_names_its_cause() -> None:
    error = status.too_large_resource_version(9, 5)
    assert error.message == "Timeout: Too large resource version: 9, current: 5"
    assert error.has_cause("ResourceVersionTooLarge")
    assert error.retry_after_seconds == 1


def test_the_status_of_a_deletion_names_what_went() -> None:
    assert status.success(DEPLOYMENTS, "x", "u")["details"] == {
        "name": "x", "group": "apps", "kind": "deployments", "uid": "u",
    }  # fmt: skip
