"""Fails when template.yaml does not keep what the architecture promises.

    checks/template.py [TEMPLATE]

The local stack evaluates no IAM and drops some settings of the bucket and the table, so these are checked here, on the
template that deploys.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent

# The API of this version. A route that is missing, or that nobody asked for, is a problem.
ROUTES = {
    "DELETE /v1/applications/{app}",
    "DELETE /v1/applications/{app}/backups/{id}",
    "DELETE /v1/applications/{app}/backups/{id}/hold",
    "GET /v1/applications",
    "GET /v1/applications/{app}",
    "GET /v1/applications/{app}/backups",
    "GET /v1/applications/{app}/backups/latest",
    "GET /v1/applications/{app}/backups/{id}",
    "GET /v1/applications/{app}/backups/{id}/artifacts/{service}",
    "GET /v1/applications/{app}/backups/{id}/artifacts/{service}/files",
    "GET /v1/applications/{app}/backups/{id}/artifacts/{service}/files/{file}",
    "GET /v1/applications/{app}/events",
    "GET /v1/applications/{app}/restores",
    "GET /v1/applications/{app}/restores/{id}",
    "GET /v1/applications/{app}/retention",
    "GET /v1/openapi.json",
    "GET /v1/plans",
    "GET /v1/plans/{plan}",
    "GET /v1/plans/{plan}/events",
    "POST /v1/applications/{app}/backups",
    "POST /v1/applications/{app}/backups/{id}/cancel",
    "POST /v1/applications/{app}/backups/{id}/undelete",
    "POST /v1/applications/{app}/backups/{id}/verify",
    "POST /v1/applications/{app}/restores",
    "POST /v1/applications/{app}/restores/{id}/cancel",
    "POST /v1/applications/{app}/restores/{id}/undo",
    "POST /v1/retention/preview",
    "PUT /v1/applications/{app}",
    "PUT /v1/applications/{app}/backups/{id}/hold",
    "PUT /v1/plans/{plan}",
}


# Each of these reads records, and writes them in transactions.
RECORDS = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
# Temporary copies of databases are found and deleted at the end of a backup, and by the nightly run.
DELETES = {"rds:DeleteDBCluster", "rds:DeleteDBClusterSnapshot", "rds:DeleteDBInstance", "rds:DeleteDBSnapshot"}
COPIES = DELETES | {
    "rds:DescribeDBClusterSnapshots",
    "rds:DescribeDBClusters",
    "rds:DescribeDBInstances",
    "rds:DescribeDBSnapshots",
}
# Actions that know no resource but `*`, and tell nothing of the account.
UNSCOPED = {"rds:DescribeOrderableDBInstanceOptions"}
# What each function's code calls, and so all that its role may. The local stack does not evaluate roles: what is missing
# here would be found out on AWS only.
GRANTS = {
    "ApiFunction": LOGS
    | RECORDS
    | {
        "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "s3:DeleteObject",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:PutObject",
        "secretsmanager:DescribeSecret",
        "states:StartExecution",
    },
    "SchedulerFunction": LOGS | RECORDS | {"states:DescribeExecution", "states:StartExecution"},
    "WorkerFunction": LOGS
    | RECORDS
    | COPIES
    | {
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "events:PutEvents",
        "kms:CreateGrant",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey",
        "rds:AddTagsToResource",
        "rds:CreateDBClusterSnapshot",
        "rds:CreateDBInstance",
        "rds:CreateDBSnapshot",
        "rds:DescribeOrderableDBInstanceOptions",
        "rds:RestoreDBClusterFromSnapshot",
        "rds:RestoreDBInstanceFromDBSnapshot",
        "rds-db:connect",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
        "s3:PutObject",
        "secretsmanager:GetSecretValue",
        "states:StartExecution",
    },
    "RestoreFunction": LOGS
    | RECORDS
    | {
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "events:PutEvents",
        "kms:Decrypt",
        "kms:GenerateDataKey",
        "rds-db:connect",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:PutObject",
        "s3:PutObjectTagging",
        "secretsmanager:GetSecretValue",
        "states:StartExecution",
    },
    "RetentionFunction": LOGS
    | RECORDS
    | COPIES
    | {
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "events:PutEvents",
        "kms:GenerateDataKey",
        "s3:DeleteObject",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:PutObject",
        "states:StartExecution",
    },
}
# Where those that do not store backups may put objects: the marks by which the records can be rebuilt, and nothing else.
MARKS = {
    "ApiRole": {"applications/*/hold.json", "registrations/*", "plans/*"},
    "RetentionRole": {"applications/*/label.json"},
}
# What a restore does to objects of others, and must never do to those of backups.
CHANGES = {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject", "s3:PutObjectTagging"}
# Who searches the table's indexes.
INDEX_READER = "SchedulerFunction"

# Where the memory that costs are counted for is said.
MEMORY = {
    "WorkerFunction": r"WORKER_MB: u64 = ([\d_]+);",
    "RetentionFunction": r"RETENTION_MB_MILLISECONDS: u64 = ([\d_]+) \*",
}

# Types with an hourly price, none of which is in the default stack.
HOURLY = (
    "AWS::EC2::NatGateway",
    "AWS::EC2::VPCEndpoint",
    "AWS::EC2::Instance",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::RDS::",
    "AWS::ElastiCache::",
)


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (`!Ref x`) as its long ones (`{"Ref": x}`)."""


def long_form(loader: Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", long_form)


def load(text: str) -> dict[str, Any]:
    """The template as CloudFormation understands it."""
    return yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)


def problems(template: dict[str, Any]) -> list[str]:
    """Every rule the template breaks, as sentences."""
    resources = template["Resources"]
    found = []
    for check in (
        check_routes,
        check_roles,
        check_grants,
        check_restores,
        check_copies,
        check_starters,
        check_marks,
        check_logs,
        check_metrics,
        check_bucket,
        check_bucket_policy,
        check_key,
        check_table,
        check_memory,
        check_price,
        check_tools,
    ):
        found += check(resources)
    # Only roles that are sound otherwise can be compared with what is called.
    return found or list(check_needs(resources))


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: one.get("Properties", {}) for name, one in resources.items() if one["Type"] == kind}


def check_routes(resources: dict[str, Any]) -> Iterator[str]:
    routes = of_type(resources, "AWS::ApiGatewayV2::Route")
    for name, route in routes.items():
        if route.get("AuthorizationType") != "AWS_IAM":
            yield f"route {name} ({route['RouteKey']}) can be called by anybody: it needs AuthorizationType AWS_IAM"
    present = {route["RouteKey"] for route in routes.values()}
    for missing in sorted(ROUTES - present):
        yield f"the API has no route {missing}"
    for unknown in sorted(present - ROUTES):
        yield f"the API has a route that is not part of it: {unknown}"
    for name, one in resources.items():
        if one["Type"] in ("AWS::Serverless::HttpApi", "AWS::Serverless::Api", "AWS::Lambda::Url"):
            yield f"{name} ({one['Type']}) is a way in beside the routes"
    for name, stage in of_type(resources, "AWS::ApiGatewayV2::Stage").items():
        if "DestinationArn" not in stage.get("AccessLogSettings", {}):
            yield f"stage {name} keeps no access log"
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        if function.get("Events") or function.get("FunctionUrlConfig"):
            yield f"function {name} declares a way in of its own (Events or FunctionUrlConfig)"


def check_roles(resources: dict[str, Any]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        match function.get("Role"):
            case {"Fn::GetAtt": [role, "Arn"]} if resources.get(role, {}).get("Type") == "AWS::IAM::Role":
                if role in owners:
                    yield f"functions {owners[role]} and {name} share the role {role}: each has its own"
                owners[role] = name
            case _:
                yield f"function {name} has no role declared in this template"
        if function.get("Policies"):
            yield f"function {name} has Policies, which SAM widens: state its grants in its role"


def check_grants(resources: dict[str, Any]) -> Iterator[str]:
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for statement in statements(role.get("Policies", [])):
            if statement.get("Effect") != "Allow":
                continue
            where = f"role {name}, statement {statement.get('Sid', statement.get('Action'))}"
            for forbidden in ("NotAction", "NotResource"):
                if forbidden in statement:
                    yield f"{where}: {forbidden} grants whatever it does not name"
            for action in strings(statement.get("Action")):
                if "*" in action:
                    yield f"{where}: action {action} grants more than what is needed; name each action"
            scoped = set(strings(statement.get("Action"))) - UNSCOPED
            for resource in strings(statement.get("Resource")):
                if is_bare(resource) and scoped:
                    yield f"{where}: resource {resource} is everything; name what is meant"
        trust = role["AssumeRolePolicyDocument"]
        for statement in trust["Statement"]:
            if "Service" not in statement.get("Principal", {}) or "*" in list(strings(statement["Principal"])):
                yield f"role {name} may be assumed by others than an AWS service"
    for name, one in resources.items():
        if one["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::User"):
            yield f"{name} ({one['Type']}) grants outside the roles"


def check_needs(resources: dict[str, Any]) -> Iterator[str]:
    for function, needed in GRANTS.items():
        role = resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]
        allowed = [one for one in statements(resources[role]["Properties"]["Policies"]) if one.get("Effect") == "Allow"]
        granted = {action for statement in allowed for action in strings(statement.get("Action"))}
        for action in sorted(needed - granted):
            yield f"role {role} lacks {action}, which {function} calls"
        for action in sorted(granted - needed):
            yield f"role {role} grants {action}, which {function} does not call"
        indexes = {path for one in allowed for path in strings(one.get("Resource")) if "/index/" in path}
        if bool(indexes) != (function == INDEX_READER):
            yield f"role {role}: the table's indexes are for {INDEX_READER}, and for it alone"


def check_restores(resources: dict[str, Any]) -> Iterator[str]:
    """What restores media cannot change a backup, whatever its buckets are called."""
    bucket, _ = only(resources, "AWS::S3::Bucket")
    everything = {"Fn::Sub": f"${{{bucket}.Arn}}/*"}
    denied = {
        action
        for statement in statements(resources["RestoreRole"]["Properties"]["Policies"])
        if statement["Effect"] == "Deny" and statement["Resource"] == everything and "Condition" not in statement
        for action in strings(statement["Action"])
    }
    for action in sorted(CHANGES - denied):
        yield f"role RestoreRole is not denied {action} on the backups"


def check_copies(resources: dict[str, Any]) -> Iterator[str]:
    """Databases can only be made and deleted by names of this project's own, and with the tag of this stack."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for statement in statements(role.get("Policies", [])):
            if statement.get("Effect") != "Allow" or not DELETES & set(strings(statement.get("Action"))):
                continue
            tags = statement.get("Condition", {}).get("StringEquals", {})
            if tags.get("aws:ResourceTag/holdfast:stack") != {"Ref": "AWS::StackName"}:
                yield f"role {name} may delete databases that are not tagged as this stack's"
            for resource in strings(statement.get("Resource")):
                if not re.search(r":(db|cluster|snapshot|cluster-snapshot):holdfast-\*$", resource):
                    yield f"role {name} may delete {resource}, which is no temporary copy"


def check_starters(resources: dict[str, Any]) -> Iterator[str]:
    """Who starts jobs, and is itself called by the state machine, knows it by its name."""
    machine, properties = only(resources, "AWS::Serverless::StateMachine")
    name = ":stateMachine:" + properties.get("Name", {}).get("Fn::Sub", "?") + "'}"
    variables = {
        function: resources[function]["Properties"]["Environment"]["Variables"]
        for function in ("WorkerFunction", "RestoreFunction", "RetentionFunction")
    }
    named = {function: str(found.get("HOLDFAST_STATE_MACHINE_ARN")) for function, found in variables.items()}
    if strays := [function for function, arn in named.items() if not arn.endswith(name)]:
        yield f"{' and '.join(strays)}: starts another state machine than {machine}: {named[strays[0]]}"


def check_marks(resources: dict[str, Any]) -> Iterator[str]:
    """Who only marks backups can put nothing in the place of one."""
    bucket, _ = only(resources, "AWS::S3::Bucket")
    for role, marks in MARKS.items():
        for statement in statements(resources[role]["Properties"]["Policies"]):
            if statement.get("Effect") == "Allow" and "s3:PutObject" in strings(statement.get("Action")):
                wanted = {f"${{{bucket}.Arn}}/{mark}" for mark in marks}
                for path in sorted(set(strings(statement.get("Resource"))) - wanted):
                    yield f"role {role} may put objects at {path}, which is no mark of its own"


def is_bare(resource: str) -> bool:
    """Whether a resource names nothing: `*`, or an ARN with nothing but wildcards behind its service."""
    if resource.replace("*", "").replace("?", "") == "":
        return True
    parts = resource.split(":", 5)
    return parts[0] == "arn" and len(parts) == 6 and parts[5].strip("*?/:") == ""


def statements(policies: Any) -> Iterator[dict[str, Any]]:
    """Every policy statement below a value, also those behind a condition."""
    if isinstance(policies, dict):
        if "Effect" in policies:
            yield policies
        else:
            for value in policies.values():
                yield from statements(value)
    elif isinstance(policies, list):
        for value in policies:
            yield from statements(value)


def strings(value: Any) -> Iterator[str]:
    """Every literal string below a value; what is referenced by name is as narrow as what it names."""
    match value:
        case str():
            yield value
        case {"Fn::Sub": str(text)}:
            yield text
        case {"Fn::GetAtt": _} | {"Ref": _}:
            return
        case {"Fn::Join": [separator, list(parts)]}:
            yield separator.join(part if isinstance(part, str) else "${}" for part in parts)
        case dict():
            for inner in value.values():
                yield from strings(inner)
        case list():
            for inner in value:
                yield from strings(inner)


def check_logs(resources: dict[str, Any]) -> Iterator[str]:
    groups = of_type(resources, "AWS::Logs::LogGroup")
    for name, group in groups.items():
        if "RetentionInDays" not in group:
            yield f"log group {name} keeps its logs for ever: it needs RetentionInDays"
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        if function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in groups:
            yield f"function {name} logs to a group that Lambda makes, without retention: name one in LoggingConfig"
        elif function["LoggingConfig"].get("ApplicationLogLevel") != "TRACE":
            yield f"function {name}: Lambda drops what LogLevel lets through, unless ApplicationLogLevel is TRACE"


# The alarms that there have to be, and what they are on.
WATCHED = {"DamagedBackupsAlarm": "BackupsDamaged", "FailedBackupsAlarm": "BackupsFailed", "OverdueAlarm": "OverdueApplications"}


def check_metrics(resources: dict[str, Any]) -> Iterator[str]:
    """An alarm on a metric of Holdfast's own is on one that its functions log, of this very stack."""
    namespace = re.search(r'NAMESPACE: &str = "(.+)";', (ROOT / "shared" / "aws" / "src" / "metrics.rs").read_text())
    logged = re.findall(r'metrics\.count\("(\w+)"', (ROOT / "functions" / "retention" / "src" / "main.rs").read_text())
    logged += re.findall(r'=> "(\w+)",', (ROOT / "shared" / "domain" / "src" / "event.rs").read_text())
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    own = {name: alarm for name, alarm in alarms.items() if not alarm["Namespace"].startswith("AWS/")}
    for name, alarm in own.items():
        yield from settings(
            name,
            alarm,
            {
                "Namespace": namespace[1] if namespace else None,
                "Dimensions": [{"Name": "Stack", "Value": {"Ref": "AWS::StackName"}}],
            },
        )
        if alarm["MetricName"] not in logged:
            yield f"{name}: no function logs the metric {alarm['MetricName']}"
    for name, metric in WATCHED.items():
        if name not in own:
            yield f"{name} is missing, an alarm on {metric}: nobody hears of backups that do not succeed"
    functions = of_type(resources, "AWS::Serverless::Function")
    for name in ("WorkerFunction", "RestoreFunction", "RetentionFunction"):
        variables = functions[name]["Environment"]["Variables"]
        if variables.get("HOLDFAST_STACK") != {"Ref": "AWS::StackName"}:
            yield f"function {name} logs metrics of a stack that is not this one: HOLDFAST_STACK must be its name"


def settings(name: str, properties: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    """The settings, by dotted path, that are not as wanted."""
    for path, value in wanted.items():
        present: Any = properties
        for step in path.split("."):
            try:
                present = present[int(step) if step.isdigit() else step]
            except (KeyError, IndexError, TypeError):
                present = None
        if present != value:
            yield f"{name}: {path} is {present!r}, and must be {value!r}"


def only(resources: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    found = of_type(resources, kind)
    if len(found) != 1:
        raise SystemExit(f"the template has {len(found)} resources of type {kind}, and must have one")
    return next(iter(found.items()))


def retained(name: str, resources: dict[str, Any]) -> Iterator[str]:
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        if resources[name].get(policy) != "Retain":
            yield f"{name}: {policy} must be Retain, or backups are lost with the stack"


def check_bucket(resources: dict[str, Any]) -> Iterator[str]:
    name, bucket = only(resources, "AWS::S3::Bucket")
    key, _ = only(resources, "AWS::KMS::Key")
    yield from retained(name, resources)
    encryption = "BucketEncryption.ServerSideEncryptionConfiguration.0"
    yield from settings(
        name,
        bucket,
        {
            "VersioningConfiguration.Status": "Enabled",
            f"{encryption}.BucketKeyEnabled": True,
            f"{encryption}.ServerSideEncryptionByDefault.SSEAlgorithm": "aws:kms",
            f"{encryption}.ServerSideEncryptionByDefault.KMSMasterKeyID": {"Fn::GetAtt": [key, "Arn"]},
            "OwnershipControls.Rules.0.ObjectOwnership": "BucketOwnerEnforced",
        }
        | {
            f"PublicAccessBlockConfiguration.{setting}": True
            for setting in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        },
    )
    rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
    enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
    if not any(rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays") == 7 for rule in enabled):
        yield f"{name}: discarded backups are to be kept for 7 days (NoncurrentVersionExpiration)"
    if not any(rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation") == 7 for rule in enabled):
        yield f"{name}: unfinished uploads are to be aborted after 7 days (AbortIncompleteMultipartUpload)"
    for rule in rules:
        if any(setting.startswith(("Expiration", "Transition")) for setting in rule):
            yield f"{name}: rule {rule.get('Id')} expires or moves current versions, which only retention decides"


def check_bucket_policy(resources: dict[str, Any]) -> Iterator[str]:
    name, policy = only(resources, "AWS::S3::BucketPolicy")
    key, _ = only(resources, "AWS::KMS::Key")
    found = list(statements(policy["PolicyDocument"]))
    for statement in found:
        if statement["Effect"] != "Deny" and "*" in list(strings(statement.get("Principal"))):
            yield f"{name}: a statement opens the bucket to everybody"
    conditions = [statement.get("Condition") for statement in found if statement["Effect"] == "Deny"]
    for what, condition in {
        "requests without TLS": {"Bool": {"aws:SecureTransport": "false"}},
        "uploads without KMS": {
            "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
            "Null": {"s3:x-amz-server-side-encryption": "false"},
        },
        "uploads under another key": {
            "StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": {"Fn::GetAtt": [key, "Arn"]}},
            "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "false"},
        },
    }.items():
        if condition not in conditions:
            yield f"{name}: does not deny {what}"


def check_key(resources: dict[str, Any]) -> Iterator[str]:
    name, key = only(resources, "AWS::KMS::Key")
    yield from retained(name, resources)
    yield from settings(name, key, {"EnableKeyRotation": True})
    for statement in statements(key["KeyPolicy"]):
        root = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
        if statement["Effect"] == "Allow" and statement["Principal"] != root:
            yield f"{name}: the key's policy grants to others than the account"


def check_table(resources: dict[str, Any]) -> Iterator[str]:
    name, table = only(resources, "AWS::DynamoDB::Table")
    yield from retained(name, resources)
    yield from settings(
        name,
        table,
        {
            "BillingMode": "PAY_PER_REQUEST",
            "DeletionProtectionEnabled": True,
            "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled": True,
            "SSESpecification.SSEEnabled": True,
            "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
        },
    )
    indexes = {
        index["IndexName"]: [part["AttributeName"] for part in index["KeySchema"]]
        for index in table.get("GlobalSecondaryIndexes", [])
    }
    wanted = {"due": ["due_shard", "next_run_at"], "open": ["open_shard", "open_since"]}
    if indexes != wanted:
        yield f"{name}: the indexes are {indexes}, and must be {wanted}"


def check_memory(resources: dict[str, Any]) -> Iterator[str]:
    """What costs are estimated by is what deploys."""
    source = (ROOT / "shared" / "domain" / "src" / "cost" / "making.rs").read_text()
    functions = of_type(resources, "AWS::Serverless::Function")
    for function, pattern in MEMORY.items():
        found = re.search(pattern, source)
        counted = int(found[1].replace("_", "")) if found else None
        if functions[function].get("MemorySize") != counted:
            yield f"function {function} has {functions[function].get('MemorySize')} MB, and its cost is counted for {counted}"


def check_price(resources: dict[str, Any]) -> Iterator[str]:
    for name, one in resources.items():
        if one["Type"].startswith(HOURLY):
            yield f"{name} ({one['Type']}) has an hourly price"
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        if "ProvisionedConcurrencyConfig" in function:
            yield f"function {name} has provisioned concurrency, which has an hourly price"


def check_tools(resources: dict[str, Any]) -> Iterator[str]:
    """Who calls databases has their tools: those that are named, else those that are built along, where there are any."""
    name, layer = only(resources, "AWS::Serverless::LayerVersion")
    condition = "BringsDatabaseTools"
    own = {"Fn::If": [condition, [{"Ref": name}], {"Ref": "AWS::NoValue"}]}
    wanted = {"Fn::If": ["HasDatabaseTools", [{"Ref": "DatabaseToolsLayerArn"}], own]}
    for function in ("WorkerFunction", "RestoreFunction"):
        yield from settings(function, resources[function]["Properties"], {"Layers": wanted})
    yield from settings(name, layer, {"CompatibleArchitectures": ["x86_64"]})
    if resources[name].get("Condition") != condition:
        yield f"{name} is to be deployed under the condition {condition} only: it is built for x86_64"


def main(path: Path) -> int:
    found = problems(load(path.read_text()))
    for problem in found:
        print(f"{path.name}: {problem}", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "template.yaml"))
