//! The operations of S3 that the contestants use.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_archive::checksum::Crc64NvmeHasher;

use super::{
    http::{Answer, Request, decode},
    sets::{Object, Set},
    uploads::{Stored, Uploads},
};

const MODIFIED: &str = "2026-11-01T00:00:00.000Z";
const LAST_MODIFIED: &str = "Sun, 01 Nov 2026 00:00:00 GMT";

/// What answers, and counts.
pub(crate) struct Endpoint {
    latency: Duration,
    uploads: Mutex<Uploads>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Endpoint {
    pub(crate) fn new(latency: Duration) -> Self {
        Self { latency, uploads: Mutex::default(), counts: Mutex::default() }
    }

    pub(crate) async fn answer(&self, request: &Request) -> Answer {
        if request.path == "/_counts" {
            let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
            self.uploads().clear();
            let lines = counts.iter().map(|(name, count)| format!("{name} {count}\n"));
            return Answer::text(200, lines.collect());
        }
        if request.path == "/_stored" {
            let stored = self.uploads();
            let lines = stored.objects.iter().map(|(path, object)| format!("{path} {}\n", object.size()));
            return Answer::text(200, lines.collect());
        }
        tokio::time::sleep(self.latency).await;
        let (operation, answer) = self.operation(request);
        let sent = answer.body.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, count) in
            [(operation, 1), ("bytes_received", request.body.len() as u64), ("bytes_sent", sent)]
        {
            *counts.entry(name.to_owned()).or_default() += count;
        }
        answer
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self, request: &Request) -> (&'static str, Answer) {
        let path = request.path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let number = request.query("partNumber").and_then(|text| text.parse().ok());
        match (request.method.as_str(), request.query("uploadId"), number) {
            ("GET", ..) if key.is_empty() && request.query("uploads").is_some() => {
                ("ListMultipartUploads", self.open_uploads(bucket, request))
            }
            ("GET", ..) if key.is_empty() => listing(bucket, request),
            ("GET", ..) if request.query("tagging").is_some() => {
                ("GetObjectTagging", Answer::text(200, "<Tagging><TagSet></TagSet></Tagging>".to_owned()))
            }
            ("GET", ..) => ("GetObject", self.object(bucket, key, request, true)),
            ("HEAD", ..) if key.is_empty() => ("HeadBucket", Answer::new(200)),
            ("HEAD", ..) => ("HeadObject", self.object(bucket, key, request, false)),
            ("POST", None, _) => ("CreateMultipartUpload", self.begin(path, request)),
            ("POST", Some(id), _) => ("CompleteMultipartUpload", self.complete(id)),
            ("PUT", Some(id), Some(number)) => match request.header("x-amz-copy-source") {
                Some(source) => ("UploadPartCopy", self.copy(id, number, source, request)),
                None => ("UploadPart", self.put_part(id, number, request)),
            },
            ("PUT", ..) => ("PutObject", self.put(path, request)),
            ("DELETE", Some(id), _) => {
                self.uploads().give_up(id);
                ("AbortMultipartUpload", Answer::new(204))
            }
            ("DELETE", ..) => ("DeleteObject", Answer::new(204)),
            _ => ("other", error(501, "NotImplemented")),
        }
    }

    fn object(&self, bucket: &str, key: &str, request: &Request, with_body: bool) -> Answer {
        let computed = Set::of(bucket).map(|set| set.object(key));
        let (size, etag, stored) = match computed {
            Some(Some(object)) => (object.size, object.etag(), None),
            Some(None) => return error(404, "NoSuchKey"),
            None => match self.uploads().objects.get(&format!("{bucket}/{key}")) {
                Some(stored) => (stored.size(), stored.etag(), Some(stored.clone())),
                None => return error(404, "NoSuchKey"),
            },
        };
        if request.header("if-match").is_some_and(|wanted| wanted != etag) {
            return error(412, "PreconditionFailed");
        }
        let range = request.header("range").map(|text| range_of(text, size));
        let Some(wanted) = range.clone().unwrap_or(Some(0..size)) else { return error(416, "InvalidRange") };
        let mut answer = Answer::new(if range.is_some() { 206 } else { 200 })
            .with("etag", etag)
            .with("last-modified", LAST_MODIFIED)
            .with("accept-ranges", "bytes")
            .with("content-type", "application/octet-stream");
        if range.is_some() {
            answer =
                answer.with("content-range", format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1));
        }
        if let Some(stored) = &stored {
            answer = protected(answer, stored);
            if range.is_none() {
                // A range has another checksum, and S3 names none for it.
                answer = answer
                    .with("x-amz-checksum-crc64nvme", stored.checksum().to_string())
                    .with("x-amz-checksum-type", "FULL_OBJECT");
            }
        }
        if !with_body {
            return Answer { length: Some(wanted.end - wanted.start), ..answer };
        }
        let body = match (computed.flatten(), stored) {
            (Some(object), _) => Some(object.bytes(wanted)),
            (None, Some(stored)) => stored.bytes(&wanted),
            (None, None) => None,
        };
        body.map_or_else(|| error(501, "NotImplemented"), |body| Answer { body, ..answer })
    }

    fn open_uploads(&self, bucket: &str, request: &Request) -> Answer {
        let prefix = format!("{bucket}/{}", request.query("prefix").unwrap_or(""));
        let uploads: String = self
            .uploads()
            .open()
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(path, id)| {
                let key = &path[bucket.len() + 1..];
                format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>")
            })
            .collect();
        Answer::text(
            200,
            format!(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
            ),
        )
    }

    fn begin(&self, path: &str, request: &Request) -> Answer {
        let id = self.uploads().begin(path, protection(request));
        let text = format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        );
        Answer::text(200, text)
    }

    fn put_part(&self, id: &str, number: u32, request: &Request) -> Answer {
        let checksum = self.uploads().put(id, number, request.body.clone());
        let Some(checksum) = checksum else { return error(404, "NoSuchUpload") };
        let named = request.header("x-amz-checksum-crc64nvme");
        if named.is_some_and(|named| named != checksum.to_string()) {
            return error(400, "BadDigest");
        }
        Answer::new(200).with("etag", format!("\"{checksum}\""))
    }

    fn copy(&self, id: &str, number: u32, source: &str, request: &Request) -> Answer {
        let (source, _version) = source.split_once('?').unwrap_or((source, ""));
        let source = decode(source.trim_start_matches('/'));
        let Some((bucket, key)) = source.split_once('/') else { return error(404, "NoSuchKey") };
        let range = request.header("x-amz-copy-source-range");
        let (etag, pieces) = if let Some(set) = Set::of(bucket) {
            let Some(object) = set.object(key) else { return error(404, "NoSuchKey") };
            let range = range.and_then(|text| range_of(text, object.size));
            (object.etag(), range.map(|range| object.bytes(range)))
        } else {
            let uploads = self.uploads();
            let Some(stored) = uploads.objects.get(&source) else { return error(404, "NoSuchKey") };
            let range = range.and_then(|text| range_of(text, stored.size()));
            (stored.etag(), range.and_then(|range| stored.bytes(&range)))
        };
        if request.header("x-amz-copy-source-if-match").is_some_and(|wanted| wanted != etag) {
            return error(412, "PreconditionFailed");
        }
        let Some(pieces) = pieces else { return error(416, "InvalidRange") };
        let mut hasher = Crc64NvmeHasher::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        let checksum = hasher.finish();
        if self.uploads().copy(id, number, pieces, checksum).is_none() {
            return error(404, "NoSuchUpload");
        }
        Answer::text(
            200,
            format!(
                "<CopyPartResult><ETag>\"{checksum}\"</ETag><LastModified>{MODIFIED}</LastModified>\
                 <ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME></CopyPartResult>"
            ),
        )
    }

    fn complete(&self, id: &str) -> Answer {
        let Some(stored) = self.uploads().complete(id) else { return error(400, "InvalidPartOrder") };
        let checksum = stored.checksum();
        let text = format!(
            "<CompleteMultipartUploadResult><ETag>\"{checksum}\"</ETag><ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME>\
             </CompleteMultipartUploadResult>"
        );
        Answer::text(200, text)
    }

    fn put(&self, path: &str, request: &Request) -> Answer {
        let stored = Stored::whole(request.body.clone(), protection(request));
        let etag = format!("\"{}\"", stored.checksum());
        self.uploads().objects.insert(path.to_owned(), stored);
        Answer::new(200).with("etag", etag)
    }
}

/// What S3 is asked to store an object with, and says of it then.
const PROTECTION: [&str; 4] = [
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
];

fn protection(request: &Request) -> Vec<(&'static str, String)> {
    let asked = PROTECTION.into_iter().map(|name| (name, request.header(name)));
    asked.filter_map(|(name, value)| Some((name, value?.to_owned()))).collect()
}

fn protected(answer: Answer, stored: &Stored) -> Answer {
    stored.protection.iter().fold(answer, |answer, (name, value)| answer.with(*name, value.as_str()))
}

fn listing(bucket: &str, request: &Request) -> (&'static str, Answer) {
    if request.query("location").is_some() {
        let text = "<LocationConstraint>eu-central-1</LocationConstraint>".to_owned();
        return ("GetBucketLocation", Answer::text(200, text));
    }
    if request.query("versions").is_some() {
        // Of what is uploaded only the newest is kept, and nothing is ever deleted.
        let text = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>".to_owned();
        return ("ListObjectVersions", Answer::text(200, text));
    }
    let after = request.query("continuation-token").or(request.query("start-after")).unwrap_or("");
    let (objects, more) = Set::of(bucket).map_or((Vec::new(), false), |set| set.page(after));
    let contents: String = objects.iter().map(|(key, object)| content(key, *object)).collect();
    let next = objects
        .last()
        .filter(|_| more)
        .map_or(String::new(), |(key, _)| format!("<NextContinuationToken>{key}</NextContinuationToken>"));
    let text = format!(
        "<ListBucketResult><Name>{bucket}</Name><KeyCount>{}</KeyCount><IsTruncated>{more}</IsTruncated>{next}{contents}</ListBucketResult>",
        objects.len()
    );
    ("ListObjectsV2", Answer::text(200, text))
}

fn content(key: &str, object: Object) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>{MODIFIED}</LastModified><ETag>{}</ETag><Size>{}</Size>\
         <StorageClass>STANDARD</StorageClass></Contents>",
        object.etag().replace('"', "&quot;"),
        object.size
    )
}

/// The range of a header, cut off at the end; none if it begins there.
fn range_of(text: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from: u64 = from.parse().ok().filter(|from| *from < size)?;
    let to = to.parse().map_or(size, |last: u64| (last + 1).min(size));
    Some(from..to)
}

fn error(status: u16, code: &str) -> Answer {
    Answer::text(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}
