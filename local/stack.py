"""The local stack: the template, the functions and the state machine of a deployment, on one machine without AWS.

    local/stack.py up [--state DIR] [--port P]     start, deploy template.yaml as built by `sam build`, print the endpoints
    local/stack.py status [--state DIR]
    local/stack.py down [--state DIR]

One process, ministack, answers as AWS on a loopback port (see docs/local-stack.md for what differs from AWS). Tests use
the class::

    with Stack(folder) as stack:
        stack.deploy()
        stack.client("s3").list_buckets()
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from local.built import TRIED  # noqa: E402
from local.machine import free_port, is_free, start_time  # noqa: E402
from local.rds import end_recorded  # noqa: E402

TOOLS = ROOT / ".tools" / "venv" / "bin"
DEFAULT_STATE = ROOT / ".stack"

REGION = "eu-central-1"
STACK_NAME = "holdfast"
# Where `sam deploy` uploads the functions' packages.
PACKAGES_BUCKET = "artifacts"

START_SECONDS = 60
# ministack writes its tables to disk on SIGTERM, so it is given time to.
STOP_SECONDS = 30


class StackError(Exception):
    """What went wrong with the local stack, and what to do about it."""


@dataclass(frozen=True)
class Running:
    """A process this program started. The start time tells it from a later process with the same id."""

    pid: int
    started: str
    port: int

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started


class Stack:
    """A local stack whose state is kept in ``state_dir``. ``region`` is the region it plays."""

    def __init__(self, state_dir: Path | str = DEFAULT_STATE, port: int | None = None, region: str = REGION):
        self.state_dir = Path(state_dir).resolve()
        self.region = region
        self._wanted_port = port

    # Process

    def start(self, **settings: str) -> "Stack":
        """Start it, or do nothing when it runs. ``settings`` are further environment variables of ministack."""
        running = self.running
        if running:
            self._await_health(running)
            return self
        for folder in ("state", "s3"):
            (self.state_dir / folder).mkdir(parents=True, exist_ok=True)
        port = self._choose_port()
        environment = self._environment(port) | {
            "GATEWAY_PORT": str(port),
            # With 127.0.0.1 here, functions behind the API are answered with 502.
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": self.region,
            "IOT_MTLS_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.state_dir / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.state_dir / "s3"),
        }
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                # No worker process: one that outlived this one would go on answering on the port.
                [
                    tool("python"), "-m", "hypercorn", "local.gateway:app",
                    "--workers", "0", "--bind", f"127.0.0.1:{port}",
                ],  # fmt: skip
                cwd=ROOT,
                env=environment | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C is for this program, which stops the stack gently.
                start_new_session=True,
            )
        try:
            running = Running(process.pid, start_time(process.pid) or "", port)
            self._write("process.json", asdict(running))
            self._await_health(running, process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> bool:
        """Stop it gently, so that its state is kept. Says whether there was anything to stop."""
        running = self.running
        if running:
            os.kill(running.pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while running.alive and time.monotonic() < deadline:
                reap(running.pid)
                time.sleep(0.05)
            if running.alive:
                raise StackError(
                    f"ministack (process {running.pid}) did not stop within {STOP_SECONDS} seconds. "
                    f"Look at {self.log}; `kill -9 {running.pid}` ends it, and loses what is in its tables."
                )
        recorded = self._read("process.json")
        if recorded:
            self._end_workers(recorded["port"])
            self._end_databases()
            (self.state_dir / "process.json").unlink(missing_ok=True)
        return running is not None

    def kill(self) -> None:
        """End it as a crash would: its tables are lost. For tests."""
        running = self.running
        if running:
            os.kill(running.pid, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS
            # Its threads, and with them its port, may outlast its main thread by a moment.
            while (running.alive or not is_free(running.port)) and time.monotonic() < deadline:
                reap(running.pid)
                time.sleep(0.02)
            self._end_workers(running.port)
            self._end_databases()

    @property
    def running(self) -> Running | None:
        """The process, when it is alive."""
        recorded = self._read("process.json")
        running = Running(**recorded) if recorded else None
        return running if running and running.alive else None

    @property
    def log(self) -> Path:
        """The log of ministack; what the functions log is in its CloudWatch Logs."""
        return self.state_dir / "ministack.log"

    # Deployment

    def deploy(self, template: Path | str = TRIED.template, parameters: dict[str, str] | None = None) -> dict[str, str]:
        """Deploy a built template with ``sam deploy``, as to a real region. Returns the outputs of the stack."""
        template = Path(template)
        if not template.exists():
            raise StackError(f"{template} does not exist: run `make build` first.")
        self._ensure_packages_bucket()
        command = [
            tool("sam"), "deploy",
            "--template-file", str(template),
            "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local",
            "--stack-name", STACK_NAME,
            "--region", self.region,
            "--s3-bucket", PACKAGES_BUCKET,
        ]  # fmt: skip
        if parameters:
            command += ["--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())]
        result = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)
        if result.returncode:
            said = (result.stdout + result.stderr).strip()
            raise StackError(f"`sam deploy` failed with exit code {result.returncode}:\n{said}\n(stack log: {self.log})")
        stacks = self.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
        self._write("outputs.json", outputs)
        return outputs

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of the last deployment."""
        outputs = self._read("outputs.json")
        if outputs is None:
            raise StackError(f"nothing is deployed in {self.state_dir}: run `make up`.")
        return outputs

    @property
    def endpoint(self) -> str:
        """The URL that stands for every AWS service."""
        return f"http://127.0.0.1:{self._running_or_fail().port}"

    @property
    def api_id(self) -> str:
        """The id of the HTTP API."""
        return self.outputs["ApiUrl"].partition("://")[2].partition(".")[0]

    @property
    def api_host(self) -> str:
        """The Host header by which the gateway knows the API."""
        return f"{self.api_id}.execute-api.localhost:{self._running_or_fail().port}"

    @property
    def api_url(self) -> str:
        """The API's address, without a slash at its end. Every name below `localhost` means this machine."""
        return f"http://{self.api_host}"

    @property
    def table(self) -> str:
        return self.outputs["TableName"]

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    @property
    def key_arn(self) -> str:
        return self.outputs["KeyArn"]

    @property
    def state_machine_arn(self) -> str:
        return self.outputs["StateMachineArn"]

    # Clients

    @property
    def env(self) -> dict[str, str]:
        """This process's environment, made to talk to the stack and to nothing else."""
        return self._environment(self._running_or_fail().port)

    def client(self, service: str, region: str | None = None):
        """A boto3 client of the stack, in another region than its own if need be."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region or self.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}),
        )

    def __enter__(self) -> "Stack":
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def _environment(self, port: int) -> dict[str, str]:
        # Nothing of the user's own AWS settings goes in: a profile or a session token must never reach a real account.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            "NO_PROXY": "127.0.0.1,localhost,.localhost",
        }

    def _choose_port(self) -> int:
        if self._wanted_port:
            if not is_free(self._wanted_port):
                raise StackError(f"port {self._wanted_port} is taken: give another with --port, or none.")
            return self._wanted_port
        # The port of the last time, so that addresses people noted stay good.
        last = self._read("port.json")
        port = last if last and is_free(last) else free_port()
        self._write("port.json", port)
        return port

    def _await_health(self, running: Running, process: subprocess.Popen | None = None) -> None:
        url = f"http://127.0.0.1:{running.port}/_ministack/health"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process and process.poll() is not None or not running.alive:
                raise StackError(f"ministack ended while starting. Its last words ({self.log}):\n{self._tail()}")
            try:
                with opener.open(url, timeout=2):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        raise StackError(f"ministack did not answer within {START_SECONDS} seconds: look at {self.log}.")

    def _ensure_packages_bucket(self) -> None:
        s3 = self.client("s3")
        if PACKAGES_BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(
                Bucket=PACKAGES_BUCKET, CreateBucketConfiguration={"LocationConstraint": self.region}
            )

    def _running_or_fail(self) -> Running:
        running = self.running
        if running:
            return running
        if self._read("process.json"):
            raise StackError(f"the local stack has died: look at {self.log}, then run `make up`.")
        raise StackError("the local stack is not running: run `make up`.")

    def _end_workers(self, port: int) -> None:
        # ministack unpacks the functions here, runs them in this folder, and leaves them behind when it ends.
        unpacked = Path(tempfile.gettempdir()) / f"ministack-provided-code-{port}"
        for process in Path("/proc").glob("[0-9]*"):
            try:
                folder = os.readlink(process / "cwd")
            except OSError:
                # Gone meanwhile, or somebody else's.
                continue
            if Path(folder).is_relative_to(unpacked):
                os.kill(int(process.name), signal.SIGKILL)
        shutil.rmtree(unpacked, ignore_errors=True)

    def _end_databases(self) -> None:
        # Those of a gateway that did not end them itself.
        end_recorded(self.state_dir / "state" / "rds")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])

    def _read(self, name: str):
        try:
            return json.loads((self.state_dir / name).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _write(self, name: str, content) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        path = self.state_dir / name
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(content, indent=2) + "\n")
        unfinished.replace(path)


def reap(pid: int) -> None:
    """Collect a child that ended; a process started by an earlier run is nobody's child here."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def tool(name: str) -> str:
    """The path of a program of the project's own Python environment."""
    path = TOOLS / name
    if not path.exists():
        raise StackError(f"{path} is missing: run `make install` first.")
    return str(path)


def print_endpoints(stack: Stack) -> None:
    print(
        f"Holdfast runs on this machine (process {stack.running.pid}, region {stack.region}, state in {stack.state_dir}).\n"
        f"\n"
        f"  API            {stack.api_url}/v1\n"
        f"  AWS endpoint   {stack.endpoint}\n"
        f"  Bucket         {stack.bucket}\n"
        f"  Table          {stack.table}\n"
        f"  Key            {stack.key_arn}\n"
        f"  State machine  {stack.state_machine_arn}\n"
        f"  Log            {stack.log}\n"
        f"\n"
        f"For the CLI and the AWS tools:\n"
        f"  export AWS_ENDPOINT_URL={stack.endpoint} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
        f" AWS_REGION={stack.region} HOLDFAST_API={stack.api_url}\n"
    )


# Whether somebody pressed Ctrl-C. The exception alone can get lost: some libraries swallow it while they are imported.
INTERRUPTED = threading.Event()


def interrupt(*_) -> None:
    INTERRUPTED.set()
    raise KeyboardInterrupt


def up(stack: Stack) -> None:
    fresh = stack.running is None
    try:
        stack.start()
        stack.deploy()
        if INTERRUPTED.is_set():
            raise KeyboardInterrupt
    except BaseException:
        # Whether it failed or was interrupted: what this run started does not stay behind.
        if fresh:
            stack.stop()
        raise
    print_endpoints(stack)


def down(stack: Stack) -> None:
    from local import postgres

    try:
        # The demo's database server, which it leaves running.
        postgres.stop_recorded(stack.state_dir)
    except postgres.PostgresError as error:
        stack.stop()
        raise StackError(str(error)) from error
    print("The local stack is stopped." if stack.stop() else "The local stack was not running.")


def status(stack: Stack) -> None:
    stack._running_or_fail()
    print_endpoints(stack)


def main() -> int:
    parser = argparse.ArgumentParser(description="The local stack of Holdfast.")
    commands = parser.add_subparsers(required=True)
    for command, about in ((up, "start and deploy"), (down, "stop"), (status, "say what runs")):
        sub = commands.add_parser(command.__name__, help=about)
        sub.set_defaults(command=command)
        sub.add_argument("--state", type=Path, default=DEFAULT_STATE, help="the folder that keeps its state")
        sub.add_argument("--port", type=int, help="the loopback port (default: that of the last time, or a free one)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, interrupt)
    try:
        arguments.command(Stack(arguments.state, arguments.port))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was left running.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
