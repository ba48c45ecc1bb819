"""The local stack's gateway: ministack, with some answers of its S3 put right.

Run by hypercorn as ``local.gateway:app``. The product talks to it as it talks to AWS; what is corrected here is what
the emulator says differently from S3 and the product reads back from each stored object:

* A multipart upload with CRC64NVME has a *full-object* checksum (S3 knows no other for this algorithm). ministack
  1.5.33 answers with a composite one, and refuses the right value with ``BadDigest``.
* The part numbers of an upload with a checksum are consecutive, as S3 demands; ministack takes any that ascend.
* ``BucketKeyEnabled`` is kept with the object.
* A part that S3 copies has the upload's checksum, of the bytes it copied. ministack gives it none.
* GetObject of a version has ranges, and of the newest one the response headers that a signed URL asks for: ministack forgets
  both as soon as a request names a version.
* An object has the tags that it was put with, or that its multipart upload was begun with, and no others: ministack keeps
  those of the object that was there before, and forgets those of an upload.
* CRC64NVME is computed by awscrt: ministack's own loop takes about a second for a part of 8 MiB.

S3's documentation: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
RDS is not ministack's but that of ``local/rds.py``, with real servers behind it.

The names below are ministack's private ones, which is why requirements.txt pins its exact version;
``tests/test_local_stack.py`` fails when one of these answers is lost.
"""

import base64
import os
import re
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import parse_qsl

from awscrt.checksums import crc64nvme
from ministack.app import app as ministack
from ministack.services import s3

from local.rds import Rds

__all__ = ["app"]

ALGORITHM = "CRC64NVME"
TAGGING = "x-amz-tagging"
BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
COMPOSITE = b"<ChecksumType>COMPOSITE</ChecksumType>"
FULL_OBJECT = b"<ChecksumType>FULL_OBJECT</ChecksumType>"

_rds = Rds(Path(os.environ.get("STATE_DIR", ".")) / "rds")


async def app(scope, receive, send):
    """What hypercorn serves: RDS here, all else by ministack."""
    if _rds.is_for(scope):
        await _rds.answer(scope, receive, send)
        return

    async def sending(message):
        if message["type"] == "lifespan.shutdown.complete":
            _rds.stop()
        await send(message)

    await ministack(scope, receive, sending)


# The checksum of the whole object while one of its uploads is being completed, as S3's header writes it.
_whole_object: ContextVar[str | None] = ContextVar("whole_object", default=None)

_put_object = s3._put_object
_create_multipart_upload = s3._create_multipart_upload
_upload_part_copy = s3._upload_part_copy
_complete_multipart_upload = s3._complete_multipart_upload
_composite_checksum = s3._composite_checksum
_record_object_version = s3._record_object_version
_resolve_sse_write_headers = s3._resolve_sse_write_headers
_get_object = s3._get_object
_get_object_attributes = s3._get_object_attributes


def put_object(bucket, key, body, headers):
    """PutObject, which leaves nothing of the tags of an object that was there."""
    response = _put_object(bucket, key, body, headers)
    if response[0] == 200 and not headers.get(TAGGING):
        keep_tags(bucket, key, {})
    return response


def keep_tags(bucket, key, tags):
    """Gives the object that is there now these tags and no others."""
    there = s3._ensure_bucket(bucket)
    version = there["objects"].get(key, {}).get("version_id")
    if tags or s3._object_tags.get((bucket, key, version)):
        s3._object_tags[(bucket, key, version)] = tags
        s3._persist_version_state(bucket, key, there)


def create_multipart_upload(bucket, key, headers):
    """CreateMultipartUpload, naming the type of checksum that S3 would, and remembering the tags."""
    status, answer, body = _create_multipart_upload(bucket, key, headers)
    if answer.get("x-amz-checksum-algorithm") == ALGORITHM:
        answer["x-amz-checksum-type"] = "FULL_OBJECT"
    upload_id = re.search(rb"<UploadId>([^<]+)</UploadId>", body)
    if status == 200 and upload_id:
        tags = dict(parse_qsl(headers.get(TAGGING) or "", keep_blank_values=True))
        s3._multipart_uploads[upload_id[1].decode()]["tags"] = tags
    return status, answer, body


def upload_part_copy(bucket, key, query, headers):
    """UploadPartCopy, computing and answering the checksum of the part."""
    status, answer, body = _upload_part_copy(bucket, key, query, headers)
    upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
    if status != 200 or upload is None or upload.get("checksum_algorithm") != ALGORITHM:
        return status, answer, body
    part = upload["parts"][int(s3._qp(query, "partNumber", "1"))]
    checksum = base64.b64encode(crc64nvme(part["body"]).to_bytes(8, "big")).decode()
    part["checksums"] = {ALGORITHM: checksum}
    end = b"</CopyPartResult>"
    return status, answer, body.replace(end, f"<ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME>".encode() + end)


def complete_multipart_upload(bucket, key, body, query, headers=None):
    """CompleteMultipartUpload, whose object has the tags that the upload was begun with."""
    upload_id = s3._qp(query, "uploadId")
    upload = s3._multipart_uploads.get(upload_id)
    response = complete_with_checksum(bucket, key, body, query, headers)
    if upload is not None and upload_id not in s3._multipart_uploads:
        keep_tags(bucket, key, upload.get("tags", {}))
    return response


def complete_with_checksum(bucket, key, body, query, headers):
    """CompleteMultipartUpload, comparing and answering the checksum of the whole object."""
    upload_id = s3._qp(query, "uploadId")
    upload = s3._multipart_uploads.get(upload_id)
    if upload is None or upload.get("checksum_algorithm") != ALGORITHM:
        return _complete_multipart_upload(bucket, key, body, query, headers)
    numbers = sorted(int(n) for n in re.findall(rb"<PartNumber>\s*(\d+)\s*</PartNumber>", body))
    if numbers != list(range(1, len(numbers) + 1)):
        says = "Part numbers must be consecutive and begin with 1 when a checksum is used."
        return s3._error("InvalidPartOrder", says, 400, f"/{bucket}/{key}")
    checksum = 0
    for number in numbers:
        part = upload["parts"].get(number)
        # A part that was never stored is refused by ministack itself, below.
        checksum = crc64nvme(part["body"], checksum) if part else checksum
    token = _whole_object.set(base64.b64encode(checksum.to_bytes(8, "big")).decode())
    try:
        status, answer, text = _complete_multipart_upload(bucket, key, body, query, headers)
    finally:
        _whole_object.reset(token)
    response = (status, answer, text.replace(COMPOSITE, FULL_OBJECT))
    if upload_id in s3._completed_multipart_uploads:
        s3._completed_multipart_uploads[upload_id]["response"] = response
    return response


def composite_checksum(algorithm, part_checksums):
    """The checksum of a completed upload."""
    if algorithm == ALGORITHM and _whole_object.get():
        return _whole_object.get()
    return _composite_checksum(algorithm, part_checksums)


def record_object_version(bucket, key, previous, stored, body, *others, **named):
    """Called with each completed object before it is kept: the place to note its type of checksum."""
    if _whole_object.get():
        stored["checksum_type"] = "FULL_OBJECT"
    return _record_object_version(bucket, key, previous, stored, body, *others, **named)


def resolve_sse_write_headers(headers, bucket):
    """The encryption headers kept with an object, with the bucket key among them."""
    kept, error = _resolve_sse_write_headers(headers, bucket)
    if kept and kept.get("x-amz-server-side-encryption") == "aws:kms" and headers.get(BUCKET_KEY, "").lower() == "true":
        kept[BUCKET_KEY] = "true"
    return kept, error


def get_object_attributes(*arguments, **named):
    """GetObjectAttributes, naming the type of checksum that S3 would."""
    status, answer, body = _get_object_attributes(*arguments, **named)
    if b"<ChecksumCRC64NVME>" in body:
        body = body.replace(COMPOSITE, FULL_OBJECT)
    return status, answer, body


def get_object(bucket_name, key, headers, query_params=None):
    """GetObject of a version: the newest one is the object itself, with its ranges and the headers that a URL asks for; of an
    older one there are ranges."""
    bucket = s3._ensure_bucket(bucket_name)
    current = (bucket or {}).get("objects", {}).get(key, {}).get("version_id")
    if current and s3._qp(query_params or {}, "versionId", "") == current:
        query_params = {name: value for name, value in query_params.items() if name != "versionId"}
    status, answer, body = _get_object(bucket_name, key, headers, query_params)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range") or "")
    if status != 200 or not wanted:
        return status, answer, body
    first, last = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
    if first > last:
        return s3._error("InvalidRange", "The requested range is not satisfiable", 416, f"/{bucket_name}/{key}")
    part = body[first : last + 1]
    # A checksum is one of the whole, which nobody could compare with a part.
    dropped = ("content-range", "content-length", "x-amz-checksum-")
    answer = {name: value for name, value in answer.items() if not name.lower().startswith(dropped)}
    answer |= {"Content-Range": f"bytes {first}-{last}/{len(body)}", "Content-Length": str(len(part))}
    return 206, answer, part


s3._crc64nvme = crc64nvme
s3._put_object = put_object
s3._create_multipart_upload = create_multipart_upload
s3._upload_part_copy = upload_part_copy
s3._complete_multipart_upload = complete_multipart_upload
s3._composite_checksum = composite_checksum
s3._record_object_version = record_object_version
s3._resolve_sse_write_headers = resolve_sse_write_headers
s3._get_object = get_object
s3._get_object_attributes = get_object_attributes
s3._SSE_STORED_HEADERS = (*s3._SSE_STORED_HEADERS, BUCKET_KEY)
