"""Which operation of which service a request to AWS is, and how that service says that something went wrong.

Services are told apart as their own gateways do: by `X-Amz-Target`, or, for S3, by the scope of the signature.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

TARGETS = {"DynamoDB_20120810": "dynamodb", "AWSStepFunctions": "states", "secretsmanager": "secretsmanager"}

# What a service calls its own trouble, and being asked too much: status and code.
ERRORS = {
    "dynamodb": (500, "InternalServerError"),
    "states": (500, "InternalFailure"),
    "secretsmanager": (500, "InternalServiceError"),
    "s3": (500, "InternalError"),
}
THROTTLED = {
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "states": (400, "ThrottlingException"),
    "secretsmanager": (400, "ThrottlingException"),
    "s3": (503, "SlowDown"),
}

# S3 may say with status 200 that these have failed.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
FAILS_WITH_200 = ("s3.CompleteMultipartUpload", "s3.UploadPartCopy")


@dataclass
class Request:
    """A request, as it is to be passed on."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """`dynamodb`, `states`, `secretsmanager`, `s3` or `other`."""
        named = self.headers.get("x-amz-target", "").partition(".")[0]
        if named in TARGETS:
            return TARGETS[named]
        scope = self.headers.get("authorization", "") + self.target.replace("%2F", "/")
        return "s3" if "/s3/aws4_request" in scope else "other"

    @property
    def operation(self) -> str:
        """The service and its operation, as `dynamodb.GetItem`."""
        if self.service == "s3":
            return f"s3.{self._of_s3()}"
        return f"{self.service}.{self.headers.get('x-amz-target', '').rpartition('.')[2]}"

    def _of_s3(self) -> str:
        url = urlsplit(self.target)
        query = parse_qs(url.query, keep_blank_values=True)
        on_object = "/" in url.path.strip("/")
        copied = "x-amz-copy-source" in self.headers
        match self.method:
            case "PUT" if "partNumber" in query:
                return "UploadPartCopy" if copied else "UploadPart"
            case "PUT":
                return "CopyObject" if copied else "PutObject"
            case "POST" if "uploads" in query:
                return "CreateMultipartUpload"
            case "POST" if "uploadId" in query:
                return "CompleteMultipartUpload"
            case "POST":
                return "DeleteObjects"
            case "DELETE":
                return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
            case "HEAD":
                return "HeadObject" if on_object else "HeadBucket"
            case "GET" if "uploads" in query:
                return "ListMultipartUploads"
            case "GET" if "versions" in query:
                return "ListObjectVersions"
            case "GET" if on_object:
                return "GetObject"
        return "ListObjectsV2"

    def refusal(self, throttled: bool) -> bytes:
        """What the service answers when it is in trouble, or asked too much."""
        status, code = (THROTTLED if throttled else ERRORS).get(self.service, (500, "InternalError"))
        if self.service == "s3":
            status = 200 if self.operation in FAILS_WITH_200 and not throttled else status
            kind = "application/xml"
            body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>'
        else:
            kind = "application/x-amz-json-1.0"
            body = f'{{"__type":"{code}","message":"injected"}}'
        head = f"HTTP/1.1 {status} Injected\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        return (head + ("" if self.method == "HEAD" else body)).encode()
