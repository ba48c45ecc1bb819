"""The built template, deployed to the local stack: what is reachable, by whom, and that deploying again is harmless."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from checks import template
from local.stack import Stack

ROOT = Path(__file__).resolve().parent.parent


def call(stack, method, path, signed):
    """The status of one call to the API."""
    request = AWSRequest(method, stack.endpoint + path, headers={"Host": stack.api_host})
    if signed:
        SigV4Auth(Credentials("test", "test"), "execute-api", stack.region).add_auth(request)
    plain = urllib.request.Request(stack.endpoint + path, method=method, headers=dict(request.headers))
    try:
        with urllib.request.urlopen(plain) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("route", sorted(template.ROUTES))
def test_a_route_answers_nobody_who_does_not_sign(stack, route):
    method, path = re.sub(r"{\w+}", "some", route).split()
    assert call(stack, method, path, signed=False) == 403


@pytest.mark.parametrize("route", ["GET /", "GET /v1", "GET /v1/nothing", "POST /v1/applications", "GET /v2/applications"])
def test_what_is_no_route_reaches_nothing(stack, route):
    method, path = route.split()
    assert call(stack, method, path, signed=True) == 404


def test_the_signed_caller_reaches_the_function(stack):
    assert call(stack, "GET", "/v1/openapi.json", signed=True) == 200


def test_a_refusal_is_a_problem_through_the_gateway_too(stack):
    request = AWSRequest("GET", stack.endpoint + "/v1/applications/nobody", headers={"Host": stack.api_host})
    SigV4Auth(Credentials("test", "test"), "execute-api", stack.region).add_auth(request)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(request.url, headers=dict(request.headers)))
    assert (refused.value.code, refused.value.headers["Content-Type"]) == (404, "application/problem+json")
    problem = json.loads(refused.value.read())
    assert problem["type"].startswith("urn:holdfast:problem:") and problem["status"] == 404 and problem["fix"]


def test_deploying_again_changes_nothing(stack):
    outputs = stack.outputs
    stack.client("s3").put_object(Bucket=stack.bucket, Key="applications/kept", Body=b"x")
    assert stack.deploy() == outputs
    assert stack.client("s3").head_object(Bucket=stack.bucket, Key="applications/kept")["ContentLength"] == 1


def test_every_function_gets_its_settings(stack):
    wanted = {"HOLDFAST_TABLE": stack.table, "HOLDFAST_BUCKET": stack.bucket, "HOLDFAST_KEY_ARN": stack.key_arn}
    functions = {
        re.search(r"(\w+)Function", one["FunctionName"]).group(1): one["Environment"]["Variables"]
        for one in stack.client("lambda").list_functions()["Functions"]
    }
    assert set(functions) == {"Api", "Scheduler", "Worker", "Restore", "Retention"}
    for settings in functions.values():
        assert settings.items() >= wanted.items()
    for starter in ("Api", "Scheduler", "Worker", "Restore", "Retention"):
        assert functions[starter]["HOLDFAST_STATE_MACHINE_ARN"] == stack.state_machine_arn


def test_up_twice_and_down(tmp_path):
    program = [sys.executable, str(ROOT / "local" / "stack.py")]
    try:
        for _ in ("first", "second"):
            up = subprocess.run([*program, "up", "--state", tmp_path], capture_output=True, text=True)
            assert up.returncode == 0, up.stderr
            assert Stack(tmp_path).api_url in up.stdout
    finally:
        down = subprocess.run([*program, "down", "--state", tmp_path], capture_output=True, text=True)
    assert (down.returncode, down.stdout) == (0, "The local stack is stopped.\n")
    assert Stack(tmp_path).running is None
