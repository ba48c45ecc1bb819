"""A stand-in for the functions that the state machine calls: answers as a script in DynamoDB says, and notes how it was called.

A `bootstrap` for the runtime provided.al2023, as the worker itself is: the types of errors reach Step Functions the same
way (the runtimes of the languages do not keep them on the local stack).

The table holds, under pk = the job's id: sk `script#N` with the N-th answer for the whole job, `script#RANGE#N` for a
range, `abort#N` for the abort step, and, written by each call, `call#NNNN`. An answer is a JSON object; `{"raise": TYPE}`
raises an error whose type Step Functions sees as TYPE.
"""

import json
import os
import urllib.request

import boto3

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
TABLE = os.environ["TABLE"]
dynamodb = boto3.client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=os.environ["AWS_REGION"])


def count(job_id: str, name: str) -> int:
    """The next number of a counter, from 1."""
    answer = dynamodb.update_item(
        TableName=TABLE,
        Key={"pk": {"S": job_id}, "sk": {"S": f"count#{name}"}},
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    )
    return int(answer["Attributes"]["n"]["N"])


def script_of(event: dict) -> str:
    if event["operation"] == "abort":
        return "abort"
    return "script" if event["range"] is None else f"script#{event['range']['name']}"


def answer(event: dict) -> dict:
    """Note the call and look up its answer. Where the script has ended, the answer is `done`."""
    if "operation" in event:
        script = script_of(event)
    else:
        # The state machine calls the retention function with the application only.
        event = {"operation": "retain", "job": {"id": event["application"]}, **event}
        script = "retain"
    job_id = event["job"]["id"]
    number = count(job_id, "calls")
    dynamodb.put_item(
        TableName=TABLE,
        Item={
            "pk": {"S": job_id},
            "sk": {"S": f"call#{number:04}"},
            "event": {"S": json.dumps(event)},
            "function": {"S": os.environ["AWS_LAMBDA_FUNCTION_NAME"]},
        },
    )
    key = {"pk": {"S": job_id}, "sk": {"S": f"{script}#{count(job_id, script)}"}}
    item = dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
    return json.loads(item["answer"]["S"]) if item else {"status": "done"}


def post(path: str, content: dict) -> None:
    urllib.request.urlopen(f"{RUNTIME}/{path}", json.dumps(content).encode()).close()


# The runtime API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
while True:
    with urllib.request.urlopen(f"{RUNTIME}/next") as call:
        request = call.headers["Lambda-Runtime-Aws-Request-Id"]
        said = answer(json.load(call))
    if "raise" in said:
        post(f"{request}/error", {"errorType": said["raise"], "errorMessage": "as the script says"})
    else:
        post(f"{request}/response", said)
