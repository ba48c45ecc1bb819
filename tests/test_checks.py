"""The checks in checks/: they pass on what is here, and fail when it is broken."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from checks import database_tools, dependencies, glibc, template
from local.built import TRIED

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = (ROOT / "template.yaml").read_text()


@pytest.fixture
def broken():
    """The template's resources, to be broken; a fresh copy for each test."""
    return copy.deepcopy(template.load(TEMPLATE))["Resources"]


def problems(resources):
    return template.problems({"Resources": resources})


def statement(resources, role, sid):
    found = template.statements(resources[role]["Properties"]["Policies"])
    return next(one for one in found if one.get("Sid") == sid)


def test_the_template_is_as_promised():
    assert template.problems(template.load(TEMPLATE)) == []


def set_in(name, *path, value):
    """A change of one setting of one resource."""

    def change(resources):
        target = resources[name]
        for step in path[:-1]:
            target = target[step]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


def grant(role, sid, **changes):
    return lambda resources: statement(resources, role, sid).update(changes)


def add(name, kind, **properties):
    return lambda resources: resources.update({name: {"Type": kind, "Properties": properties}})


PROPERTIES = "Properties"
SSE = ("BucketEncryption", "ServerSideEncryptionConfiguration", 0)


@pytest.mark.parametrize(
    "change, says",
    [
        (set_in("GetBackup", PROPERTIES, "AuthorizationType", value="NONE"), "can be called by anybody"),
        (set_in("GetBackup", PROPERTIES, "AuthorizationType", value=None), "can be called by anybody"),
        (lambda resources: resources.pop("CancelBackup"), "no route POST /v1/applications/{app}/backups/{id}/cancel"),
        (
            add("Any", "AWS::ApiGatewayV2::Route", RouteKey="$default", AuthorizationType="AWS_IAM"),
            "not part of it: $default",
        ),
        (add("Door", "AWS::Lambda::Url", AuthType="NONE"), "a way in beside the routes"),
        (set_in("ApiFunction", PROPERTIES, "Events", value={"Any": {"Type": "HttpApi"}}), "a way in of its own"),
        (set_in("ApiStage", PROPERTIES, "AccessLogSettings", value=None), "keeps no access log"),
        (set_in("ApiFunction", PROPERTIES, "Role", value={"Fn::GetAtt": ["WorkerRole", "Arn"]}), "share the role WorkerRole"),
        (set_in("ApiFunction", PROPERTIES, "Role", value=None), "has no role"),
        (set_in("ApiFunction", PROPERTIES, "Policies", value=["AmazonS3FullAccess"]), "has Policies"),
        (set_in("WorkerFunction", PROPERTIES, "Layers", value=None), "WorkerFunction: Layers is None"),
        (set_in("RestoreFunction", PROPERTIES, "Layers", value=None), "RestoreFunction: Layers is None"),
        (grant("WorkerRole", "DeleteCopies", Condition={}), "not tagged as this stack's"),
        (grant("RetentionRole", "DeleteLeftovers", Resource="arn:aws:rds:eu-central-1:000000000000:db:*"), "which is no temporary copy"),
        (
            grant("WorkerRole", "ListClasses", Action=["rds:DescribeOrderableDBInstanceOptions", "rds:DescribeDBInstances"]),
            "resource * is everything",
        ),
        (
            grant("RestoreRole", "NeverChangeBackups", Action=["s3:AbortMultipartUpload", "s3:PutObject", "s3:PutObjectTagging"]),
            "not denied s3:DeleteObject",
        ),
        (grant("ApiRole", "MarkWhatIsAskedFor", Resource={"Fn::Sub": "${Bucket.Arn}/applications/*"}), "which is no mark of its own"),
        (grant("RetentionRole", "MarkLabels", Resource={"Fn::Sub": "${Bucket.Arn}/applications/*.json"}), "which is no mark of its own"),
        (set_in("JobStateMachine", PROPERTIES, "Name", "Fn::Sub", value="${AWS::StackName}"), "starts another state machine"),
        (set_in("DatabaseToolsLayer", "Condition", value=None), "under the condition BringsDatabaseTools"),
        (grant("WorkerRole", "Records", Action="dynamodb:*"), "action dynamodb:* grants more"),
        (grant("WorkerRole", "Records", Action=["dynamodb:GetItem", "dynamodb:Put*"]), "action dynamodb:Put* grants more"),
        (grant("WorkerRole", "ReadMedia", Resource="*"), "resource * is everything"),
        (grant("WorkerRole", "ReadMedia", Resource={"Fn::Sub": "arn:${AWS::Partition}:s3:::*"}), "is everything"),
        (grant("WorkerRole", "ReadMedia", Resource={"Fn::Sub": "arn:aws:s3:::*/*"}), "is everything"),
        (grant("WorkerRole", "ReadEncryptedSources", Resource=["*"]), "statement ReadEncryptedSources: resource * is"),
        (grant("WorkerRole", "ReadMedia", NotAction="s3:PutObject"), "NotAction"),
        (add("Extra", "AWS::IAM::Policy"), "grants outside the roles"),
        (
            set_in("ApiRole", PROPERTIES, "AssumeRolePolicyDocument", "Statement", 0, "Principal", value={"AWS": "*"}),
            "may be assumed by others",
        ),
        (grant("ApiRole", "DeleteBackups", Action="s3:GetObjectVersion"), "ApiRole lacks s3:DeleteObject"),
        (
            grant("ApiRole", "Records", Resource={"Fn::Sub": "${Table.Arn}/index/due"}),
            "the table's indexes are for SchedulerFunction",
        ),
        (set_in("WorkerFunction", PROPERTIES, "MemorySize", value=3008), "its cost is counted for 1769"),
        (set_in("OverdueAlarm", PROPERTIES, "MetricName", value="Overdue"), "no function logs the metric Overdue"),
        (set_in("OverdueAlarm", PROPERTIES, "Namespace", value="holdfast"), "OverdueAlarm: Namespace is 'holdfast'"),
        (set_in("OverdueAlarm", PROPERTIES, "Dimensions", value=[]), "OverdueAlarm: Dimensions is []"),
        (lambda resources: resources.pop("OverdueAlarm"), "an alarm on OverdueApplications"),
        (lambda resources: resources.pop("FailedBackupsAlarm"), "an alarm on BackupsFailed"),
        (lambda resources: resources["ApiFunction"][PROPERTIES]["LoggingConfig"].pop("ApplicationLogLevel"), "Lambda drops what LogLevel"),
        (set_in("RetentionFunction", PROPERTIES, "Environment", "Variables", "HOLDFAST_STACK", value="x"), "metrics of a stack that is not this one"),
        (grant("WorkerRole", "TellOthers", Action="s3:PutObject"), "WorkerRole lacks events:PutEvents"),
        (grant("SchedulerRole", "StartJobs", Action=["states:StartExecution", "states:StopExecution"]), "does not call"),
        (set_in("WorkerLogs", PROPERTIES, "RetentionInDays", value=None), "keeps its logs for ever"),
        (set_in("WorkerFunction", PROPERTIES, "LoggingConfig", value=None), "without retention"),
        (set_in("Bucket", "DeletionPolicy", value="Delete"), "lost with the stack"),
        (set_in("Bucket", PROPERTIES, "VersioningConfiguration", "Status", value="Suspended"), "VersioningConfiguration"),
        (set_in("Bucket", PROPERTIES, *SSE, "BucketKeyEnabled", value=False), "BucketKeyEnabled"),
        (
            set_in("Bucket", PROPERTIES, *SSE, "ServerSideEncryptionByDefault", "SSEAlgorithm", value="AES256"),
            "SSEAlgorithm",
        ),
        (
            set_in("Bucket", PROPERTIES, "PublicAccessBlockConfiguration", "BlockPublicPolicy", value=False),
            "BlockPublicPolicy",
        ),
        (set_in("Bucket", PROPERTIES, "LifecycleConfiguration", "Rules", 0, "Status", value="Disabled"), "7 days (Noncurrent"),
        (set_in("Bucket", PROPERTIES, "LifecycleConfiguration", "Rules", 1, "Status", value="Disabled"), "7 days (Abort"),
        (
            set_in("Bucket", PROPERTIES, "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", value=30),
            "which only retention decides",
        ),
        (
            lambda resources: resources["BucketPolicy"][PROPERTIES]["PolicyDocument"]["Statement"].append(
                {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
            ),
            "opens the bucket",
        ),
        (set_in("BucketPolicy", PROPERTIES, "PolicyDocument", "Statement", 0, value={"Effect": "Deny"}), "without TLS"),
        (set_in("BucketPolicy", PROPERTIES, "PolicyDocument", "Statement", 1, value={"Effect": "Deny"}), "without KMS"),
        (set_in("BucketPolicy", PROPERTIES, "PolicyDocument", "Statement", 2, value={"Effect": "Deny"}), "another key"),
        (set_in("Key", PROPERTIES, "EnableKeyRotation", value=False), "EnableKeyRotation"),
        (set_in("Key", "UpdateReplacePolicy", value=None), "UpdateReplacePolicy"),
        (set_in("Key", PROPERTIES, "KeyPolicy", "Statement", 0, "Principal", value={"AWS": "*"}), "others than the account"),
        (set_in("Table", PROPERTIES, "TimeToLiveSpecification", value=None), "TimeToLiveSpecification"),
        (
            set_in("Table", PROPERTIES, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", value=False),
            "PointInTimeRecoveryEnabled",
        ),
        (set_in("Table", PROPERTIES, "BillingMode", value="PROVISIONED"), "BillingMode"),
        (lambda resources: resources["Table"][PROPERTIES]["GlobalSecondaryIndexes"].pop(), "the indexes are"),
        (add("Gateway", "AWS::EC2::NatGateway"), "hourly price"),
    ],
)
def test_a_broken_template_is_found_out(broken, change, says):
    change(broken)
    found = problems(broken)
    assert len(found) == 1, found
    assert says in found[0]


def test_the_check_of_the_template_fails_as_a_program(tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE.replace("AuthorizationType: AWS_IAM", "AuthorizationType: NONE", 1))
    result = subprocess.run([sys.executable, ROOT / "checks" / "template.py", path], capture_output=True, text=True)
    assert result.returncode == 1
    assert "can be called by anybody" in result.stderr


# A workspace in small: each crate by its folder, with the dependencies it names (and `dev:` before those for tests).
SOUND = {
    "shared/domain": ["serde"],
    "shared/archive": ["tar", "dev:tokio"],
    "shared/backup": ["domain", "archive", "tokio", "dev:testing"],
    "shared/aws": ["backup", "domain", "aws-sdk-s3"],
    "shared/testing": ["backup"],
    "functions/api": ["aws", "backup", "domain", "dev:testing"],
    "cli": ["domain", "aws-sigv4"],
}
# What the crates from outside depend on.
OUTSIDE = {"serde": [], "tar": ["filetime"], "filetime": [], "tokio": [], "aws-sdk-s3": ["hyper"], "aws-sigv4": [], "hyper": []}


def metadata(workspace, outside=OUTSIDE):
    """What `cargo metadata` says of such a workspace."""
    named = {folder.rpartition("/")[2]: dependencies for folder, dependencies in workspace.items()}
    folders = {folder.rpartition("/")[2]: folder for folder in workspace}
    packages, nodes = [], []
    for name, needed in {**named, **outside}.items():
        edges = [(one.removeprefix("dev:"), "dev" if one.startswith("dev:") else None) for one in needed]
        packages.append(
            {
                "id": name,
                "name": name,
                "manifest_path": f"/w/{folders.get(name, f'registry/{name}')}/Cargo.toml",
                "dependencies": [{"name": target, "kind": kind} for target, kind in edges],
            }
        )
        nodes.append({"id": name, "deps": [{"pkg": target, "dep_kinds": [{"kind": kind}]} for target, kind in edges]})
    return {
        "workspace_root": "/w",
        "workspace_members": list(named),
        "packages": packages,
        "resolve": {"nodes": nodes},
    }


def test_the_workspace_is_as_the_architecture_says():
    assert dependencies.problems(dependencies.read_metadata()) == []


def test_a_sound_workspace_has_no_problem():
    assert dependencies.problems(metadata(SOUND)) == []


@pytest.mark.parametrize(
    "folder, dependency, says",
    [
        ("shared/domain", "tokio", "pure: domain → tokio"),
        ("shared/domain", "hyper", "pure: domain → hyper"),
        ("shared/domain", "archive", "down only: domain → archive: shared/domain may not depend on shared/archive"),
        ("shared/archive", "dev:backup", "down only: archive → backup"),
        ("shared/backup", "aws", "down only: backup → aws"),
        ("shared/backup", "aws-sdk-s3", "AWS at the edge: backup → aws-sdk-s3"),
        ("shared/backup", "dev:aws-sigv4", "AWS at the edge: backup → aws-sigv4"),
        ("shared/aws", "api", "down only: aws → api"),
        ("cli", "testing", "down only: cli → testing must be a dev-dependency"),
        ("functions/api", "cli", "down only: api → cli"),
    ],
)
def test_a_dependency_against_the_rules_is_found_out(folder, dependency, says):
    found = dependencies.problems(metadata(SOUND | {folder: [*SOUND[folder], dependency]}))
    assert len(found) == 1, found
    assert found[0].startswith(says)


def test_what_is_linked_through_others_is_found_out_with_its_path():
    found = dependencies.problems(metadata(SOUND, OUTSIDE | {"filetime": ["tokio"]}))
    assert found == ["pure: archive → tar → filetime → tokio: tokio does I/O"]


def test_a_crate_without_a_place_is_found_out():
    found = dependencies.problems(metadata(SOUND | {"shared/misc": []}))
    assert found == ["down only: shared/misc has no place in the layout; give it one in checks/dependencies.py"]


@pytest.mark.parametrize(
    "strings, version",
    [
        (b"GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0", (2, 34)),
        (b"GLIBC_2.9\0GLIBC_2.38\0", (2, 38)),
        (b"GLIBC_2.34\0said in a text: GLIBC_2.99 is newer", (2, 34)),
        (b"", (0, 0)),
    ],
)
def test_the_newest_glibc_a_program_needs(strings, version):
    assert glibc.needed(b"\x7fELF" + strings) == version


def test_a_program_for_a_newer_system_is_refused_with_what_to_do(tmp_path):
    program = tmp_path / "bootstrap"
    program.write_bytes(b"\x7fELF GLIBC_2.38\0")
    assert "needs glibc 2.38, and the Lambda runtime provided.al2023 has 2.34: build on" in glibc.problem(program)
    program.write_bytes(b"\xcf\xfa\xed\xfe")
    assert "build the functions on Linux" in glibc.problem(program)
    program.write_bytes(b"\x7fELF GLIBC_2.34\0")
    assert glibc.problem(program) is None


@pytest.mark.parametrize("function", ["ApiFunction", "SchedulerFunction", "WorkerFunction", "RestoreFunction", "RetentionFunction"])
def test_what_was_built_runs_on_the_lambda_runtime(function):
    assert glibc.problem(TRIED.functions / function / "bootstrap") is None


def test_a_layer_without_database_tools_is_not_deployed_by_mistake(tmp_path, monkeypatch):
    assert database_tools.problem(tmp_path) is None
    (tmp_path / "EMPTY.txt").write_text("No database tools: they are built on x86_64 only\n")
    assert "built on x86_64 only" in database_tools.problem(tmp_path)
    monkeypatch.setenv("DATABASE_TOOLS", "none")
    assert database_tools.problem(tmp_path) is None
