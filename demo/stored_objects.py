"""What S3 itself says of a backup's artifacts, held against Holdfast's record of them."""

from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from awscrt.checksums import crc64nvme

from report import Failure

CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """An artifact as S3's HeadObject describes it, with what only the record knows: the service and the time."""

    service: str
    key: str
    size: int
    seconds: float
    storage_class: str
    encryption: str
    bucket_key: bool
    checksum: str

    @property
    def file_name(self) -> str:
        """Last segment of the key."""
        return self.key.rpartition("/")[2]


def read_back(s3: object, bucket: str, backup: dict) -> list[Stored]:
    """Ask S3 for each artifact of the record `backup`. A Failure names whatever the two disagree on."""
    return [_read_back(s3, bucket, artifact) for artifact in backup["artifacts"]]


def check_download(file: Path, stored: Stored) -> None:
    """Compare a downloaded file with the stored object: size, and CRC64NVME over all its bytes."""
    found = file.stat().st_size
    if found != stored.size:
        raise Failure(f"{file} has {found} bytes, its object {stored.size}")
    value = 0
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            value = crc64nvme(chunk, value)
    if value.to_bytes(8, "big") != b64decode(stored.checksum):
        raise Failure(f"the checksum of {file} differs from the one S3 keeps with {stored.key}")


def _read_back(s3: object, bucket: str, artifact: dict) -> Stored:
    record = artifact["object"]
    head = s3.head_object(Bucket=bucket, Key=record["key"], ChecksumMode="ENABLED")
    stored = Stored(
        service=artifact["service"],
        key=record["key"],
        size=head["ContentLength"],
        seconds=artifact["milliseconds"] / 1000,
        # S3 leaves the header out for STANDARD.
        storage_class=head.get("StorageClass", "STANDARD"),
        encryption=head.get("ServerSideEncryption", "none"),
        bucket_key=head.get("BucketKeyEnabled", False),
        checksum=head.get("ChecksumCRC64NVME", ""),
    )
    expected = {
        "size": (record["size"], stored.size),
        "storage class": ("STANDARD_IA", stored.storage_class),
        "encryption": ("aws:kms", stored.encryption),
        "key": (record["encryption"]["key_arn"], head.get("SSEKMSKeyId")),
        "bucket key": (True, stored.bucket_key),
        "checksum type": ("FULL_OBJECT", head.get("ChecksumType")),
        "checksum": (record["crc64nvme"], stored.checksum),
    }
    for what, (wanted, found) in expected.items():
        if wanted != found:
            raise Failure(f"{what} of {stored.key}: expected {wanted!r}, S3 says {found!r}")
    return stored
