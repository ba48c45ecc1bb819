//! Bringing one file here, whatever the connection does meanwhile.

use std::{path::Path, time::Duration};

use holdfast_archive::checksum::Crc64Nvme;
use http::{StatusCode, header};
use reqwest::Response;
use serde::Serialize;

use super::part::{self, Part};
use crate::failure::{Failure, chain};

/// Attempts in a row that may bring nothing before it gives up.
const STALLS: u32 = 5;

/// A signed URL. It is a secret: it has no `Debug` and no `Display`.
pub(super) struct Link(String);

impl Link {
    /// The URL as the API gave it.
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }
}

/// What the file must be, by the backup's record.
pub(super) struct Expected {
    size: u64,
    checksum: Crc64Nvme,
}

impl Expected {
    /// So many bytes with this CRC64NVME, in base64.
    pub(super) fn new(size: u64, crc64nvme: &str) -> Result<Self, Failure> {
        let checksum =
            crc64nvme.parse().map_err(|error| Failure::new(format!("the API's answer is wrong: {error}")))?;
        Ok(Self { size, checksum })
    }

    fn is(&self, size: u64, checksum: Crc64Nvme) -> bool {
        (self.size, self.checksum) == (size, checksum)
    }
}

/// How the file came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was downloaded.
    Downloaded,
    /// The rest of it was downloaded.
    Resumed,
    /// It was there already, and is whole.
    AlreadyThere,
}

impl Outcome {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Downloaded => "downloaded",
            Self::Resumed => "resumed",
            Self::AlreadyThere => "already there",
        }
    }
}

/// How files are brought here.
pub(super) struct Fetch<'a> {
    /// The client; nothing is signed, the URLs are.
    pub(super) http: &'a reqwest::Client,
    /// The pause after an attempt that brought nothing; it doubles with each in a row.
    pub(super) pause: Duration,
    /// Whether a file that differs is replaced.
    pub(super) overwrite: bool,
    /// Told how many bytes have arrived.
    pub(super) progress: &'a dyn Fn(u64),
}

/// How an attempt ended that did not bring the rest.
enum Broken {
    /// The URL is not accepted any more.
    Expired(StatusCode),
    /// Something that may pass.
    Passing(String),
}

impl Fetch<'_> {
    /// Brings the file here as `target`: from `link`, and from a `fresh` one when that has expired.
    pub(super) async fn run(
        &self,
        mut link: Link,
        fresh: impl AsyncFn() -> Result<Link, Failure>,
        expected: &Expected,
        target: &Path,
    ) -> Result<Outcome, Failure> {
        match part::measure(target)? {
            Some((size, checksum)) if expected.is(size, checksum) => return Ok(Outcome::AlreadyThere),
            Some(_) if !self.overwrite => return Err(part::exists(target)),
            _ => {}
        }
        let mut part = Part::open(target)?;
        if part.length() > expected.size {
            part.restart()?;
        }
        let mut resumed = part.length() > 0;
        loop {
            let mut restarted = false;
            self.fill(&mut part, &mut link, &fresh, expected, &mut restarted).await?;
            resumed &= !restarted;
            if expected.is(part.length(), part.checksum()) {
                part.finish(target, self.overwrite)?;
                return Ok(if resumed { Outcome::Resumed } else { Outcome::Downloaded });
            }
            if !resumed {
                let found = part.checksum();
                part.discard();
                return Err(Failure::new(format!(
                    "{} arrived damaged: its CRC64NVME is {found}, the backup's is {}; it was thrown away",
                    target.display(),
                    expected.checksum
                ))
                .fix(
                    "download it again; if that ends the same way, use another backup and report this one",
                ));
            }
            // What an earlier download left may have been something else.
            part.restart()?;
            resumed = false;
        }
    }

    /// Brings what is missing. Afterwards the part has the expected size.
    async fn fill(
        &self,
        part: &mut Part,
        link: &mut Link,
        fresh: &impl AsyncFn() -> Result<Link, Failure>,
        expected: &Expected,
        restarted: &mut bool,
    ) -> Result<(), Failure> {
        let mut stalls = 0;
        while part.length() < expected.size {
            let before = part.length();
            let broken = match self.attempt(part, link, expected, restarted).await? {
                Ok(()) => continue,
                Err(broken) => broken,
            };
            stalls = if part.length() > before { 0 } else { stalls + 1 };
            if stalls == STALLS {
                return Err(gave_up(&broken, part, expected));
            }
            if matches!(broken, Broken::Expired(_)) {
                *link = fresh().await?;
            }
            // A link that ran out is replaced at once; only when the fresh one is refused too is there reason to wait.
            if stalls > 0 && !(stalls == 1 && matches!(broken, Broken::Expired(_))) {
                tokio::time::sleep(self.pause * 2_u32.pow(stalls - 1)).await;
            }
        }
        Ok(())
    }

    /// One request for what is missing; the outer error is one that no further attempt mends.
    async fn attempt(
        &self,
        part: &mut Part,
        link: &Link,
        expected: &Expected,
        restarted: &mut bool,
    ) -> Result<Result<(), Broken>, Failure> {
        let mut request = self.http.get(&link.0);
        if part.length() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length()));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Broken::Passing(chain(error)))),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, part.length()) => {}
            // The whole file, since the storage does not know ranges, or another part than was asked for.
            StatusCode::OK if part.length() == 0 => {}
            StatusCode::OK => {
                part.restart()?;
                *restarted = true;
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                part.restart()?;
                *restarted = true;
                return Ok(Err(Broken::Passing(
                    "the storage answered with another part of the file".to_owned(),
                )));
            }
            status @ (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Ok(Err(Broken::Expired(status)));
            }
            StatusCode::NOT_FOUND => {
                return Err(Failure::new("the storage does not have the file any more")
                    .fix("see with `holdfast backup list` whether the backup has expired, and use another"));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Err(Broken::Passing(format!("the storage answered {status}"))));
            }
            status => return Err(Failure::new(format!("the storage answered {status}"))),
        }
        self.receive(response, part, expected).await
    }

    async fn receive(
        &self,
        mut response: Response,
        part: &mut Part,
        expected: &Expected,
    ) -> Result<Result<(), Broken>, Failure> {
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    let missing = expected.size - part.length();
                    if bytes.len() as u64 > missing {
                        return Err(Failure::new(format!(
                            "the storage sends more than the {} bytes the backup's record tells of",
                            expected.size
                        )));
                    }
                    part.write(&bytes)?;
                    (self.progress)(part.length());
                }
                Ok(None) if part.length() == expected.size => return Ok(Ok(())),
                Ok(None) => return Ok(Err(Broken::Passing("the connection ended too early".to_owned()))),
                Err(error) => return Ok(Err(Broken::Passing(chain(error)))),
            }
        }
    }
}

/// Whether a part of a file begins where it should: `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4).
fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()) == Some(offset)
}

fn gave_up(broken: &Broken, part: &Part, expected: &Expected) -> Failure {
    let reason = match broken {
        Broken::Expired(status) => format!("the storage refuses fresh links too ({status})"),
        Broken::Passing(reason) => reason.clone(),
    };
    Failure::new(format!(
        "the download does not get on: {reason}; {} of {} bytes are in {}",
        part.length(),
        expected.size,
        part.path().display()
    ))
    .fix("check the network and this computer's clock, then run the same command to go on")
}
