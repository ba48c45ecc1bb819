//! The emulated S3 behind a proxy that makes its calls fail as networks and S3 make them fail: before they took place,
//! after it, or with an answer that is another one.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use holdfast_testing::fakes::SeededEntropy;
use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is answered with 500, and does not take place.
    InternalError,
    /// It is answered with 503, and does not take place.
    SlowDown,
    /// Its connection is reset before it takes place.
    ResetBefore,
    /// It takes place, and its connection is reset instead of an answer.
    ResetAfter,
    /// It takes place, and is answered with 500.
    ErrorAfter,
    /// It takes place, and its answer breaks off.
    Truncated,
    /// It takes place, and its answer says 200 before it says that it failed.
    ErrorWithin200,
    /// It takes place, and nothing is answered until the caller has gone.
    Silent,
}

impl Trouble {
    const ALL: [Self; 7] = [
        Self::InternalError,
        Self::SlowDown,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::ErrorAfter,
        Self::Truncated,
        Self::ErrorWithin200,
    ];

    /// What can become of this call, but for waiting in vain, which takes long.
    pub(crate) fn of(call: &str) -> impl Iterator<Item = Self> {
        let early = ANSWERING_EARLY.contains(&call);
        Self::ALL.into_iter().filter(move |trouble| early || *trouble != Self::ErrorWithin200)
    }
}

/// How often it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Once,
    /// Until [`FaultyS3::heal`].
    Always,
}

/// The operations of S3 that answer with 200 before they know whether they succeed.
const ANSWERING_EARLY: [&str; 2] = ["CompleteMultipartUpload", "UploadPartCopy"];

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    chaos: Option<(SeededEntropy, u64)>,
    struck: Vec<(&'static str, Trouble)>,
}

struct Rule {
    call: &'static str,
    /// How many more such calls pass by.
    passing: usize,
    trouble: Trouble,
    times: Times,
}

/// The proxy; its port is open as long as it is there.
pub(crate) struct FaultyS3 {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl FaultyS3 {
    /// A proxy before the S3 at this port of this machine.
    pub(crate) async fn before(s3: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<Mutex<State>>::default());
        let accepting = tokio::spawn({
            let state = state.clone();
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    // What goes wrong here goes wrong for the client too.
                    tokio::spawn(serve(client, s3, state.clone()));
                }
            }
        });
        Self { port, state, accepting }
    }

    /// Strikes at the `nth` such call from now on, counted from 1; the operation is named as S3 names it.
    pub(crate) fn on(&self, call: &'static str, nth: usize, trouble: Trouble, times: Times) {
        self.state.lock().unwrap().rules.push(Rule { call, passing: nth - 1, trouble, times });
    }

    /// Strikes at any call, in any way, with this probability.
    pub(crate) fn chaos(&self, seed: u64, per_mille: u64) {
        self.state.lock().unwrap().chaos = Some((SeededEntropy::new(seed), per_mille));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.rules.clear();
        state.chaos = None;
    }

    /// What has gone wrong so far.
    pub(crate) fn struck(&self) -> Vec<(&'static str, Trouble)> {
        self.state.lock().unwrap().struck.clone()
    }
}

impl Drop for FaultyS3 {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn strike(&mut self, call: &'static str) -> Option<Trouble> {
        let mut trouble = None;
        self.rules.retain_mut(|rule| {
            if rule.call != call || trouble.is_some() {
                return true;
            }
            if rule.passing > 0 {
                rule.passing -= 1;
                return true;
            }
            trouble = Some(rule.trouble);
            rule.times == Times::Always
        });
        if trouble.is_none()
            && let Some((entropy, per_mille)) = &self.chaos
            && entropy.next() % 1000 < *per_mille
        {
            let possible: Vec<_> = Trouble::of(call).collect();
            trouble = Some(possible[usize::try_from(entropy.next()).unwrap() % possible.len()]);
        }
        let trouble = trouble?;
        self.struck.push((call, trouble));
        Some(trouble)
    }
}

/// Answers one request.
async fn serve(mut client: TcpStream, s3: u16, state: Arc<Mutex<State>>) -> io::Result<()> {
    let request = Request::read(&mut client).await?;
    let trouble = state.lock().unwrap().strike(request.operation());
    match trouble {
        None => client.write_all(&request.forward(s3).await?.to_bytes()).await,
        Some(Trouble::InternalError) => client.write_all(&refusal("500 Internal Server Error")).await,
        Some(Trouble::SlowDown) => client.write_all(&refusal("503 Slow Down")).await,
        Some(Trouble::ResetBefore) => reset(client),
        Some(after) => {
            let answer = request.forward(s3).await?;
            match after {
                Trouble::ErrorAfter => client.write_all(&refusal("500 Internal Server Error")).await,
                Trouble::ErrorWithin200 => client.write_all(&refusal("200 OK")).await,
                Trouble::Truncated => client.write_all(&answer.half()).await,
                Trouble::Silent => {
                    let _ = client.read(&mut [0]).await;
                    Ok(())
                }
                _ => reset(client),
            }
        }
    }
}

fn reset(client: TcpStream) -> io::Result<()> {
    set_socket_linger(&client, Some(Duration::ZERO))?;
    drop(client);
    Ok(())
}

/// An answer of S3 with this status, which says that it is out of order.
fn refusal(status: &str) -> Vec<u8> {
    let code = if status.starts_with("503") { "SlowDown" } else { "InternalError" };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>made by a test</Message></Error>"
    );
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A message of HTTP/1.1: its first lines, and what follows them.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    /// Reads the head, and what has come with it of the body.
    async fn begin(stream: &mut TcpStream) -> io::Result<Self> {
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = read.split_off(end + 4);
                let head = String::from_utf8(read).map_err(|_| ErrorKind::InvalidData)?;
                return Ok(Self { head, body });
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Without a header that is only for the next hop, and with the word that no other message follows.
    fn closing(mut self) -> Self {
        let hop = ["connection", "expect"];
        let kept = self.head.trim_end().lines().filter(|line| {
            !line.split_once(':').is_some_and(|(name, _)| hop.contains(&name.to_ascii_lowercase().as_str()))
        });
        self.head = kept.fold(String::new(), |head, line| head + line + "\r\n") + "Connection: close\r\n\r\n";
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// The first half of the body with all of the head, or half of the head where there is no body.
    fn half(&self) -> Vec<u8> {
        let whole = self.to_bytes();
        let end =
            if self.body.is_empty() { self.head.len() / 2 } else { self.head.len() + self.body.len() / 2 };
        whole[..end].to_vec()
    }
}

struct Request(Message);

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.head.lines().next().unwrap_or_default())
    }
}

impl Request {
    async fn read(client: &mut TcpStream) -> io::Result<Self> {
        let mut message = Message::begin(client).await?;
        if message.header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        assert!(message.header("transfer-encoding").is_none(), "a body of unknown length: {}", message.head);
        let length = message.header("content-length").map_or(0, |length| length.parse().unwrap());
        while message.body.len() < length {
            if client.read_buf(&mut message.body).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Self(message))
    }

    /// What S3 calls it. Buckets are in the path.
    fn operation(&self) -> &'static str {
        let mut line = self.0.head.split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let of_an_object = path.trim_matches('/').contains('/');
        match method {
            "POST" if has("uploads") => "CreateMultipartUpload",
            "POST" if has("uploadId") => "CompleteMultipartUpload",
            "POST" if has("delete") => "DeleteObjects",
            "PUT" if has("partNumber") && self.0.header("x-amz-copy-source").is_some() => "UploadPartCopy",
            "PUT" if has("partNumber") => "UploadPart",
            "PUT" if of_an_object => "PutObject",
            "DELETE" if has("uploadId") => "AbortMultipartUpload",
            "HEAD" if of_an_object => "HeadObject",
            "GET" if has("uploads") => "ListMultipartUploads",
            "GET" if has("versions") => "ListObjectVersions",
            "GET" if has("location") => "GetBucketLocation",
            "GET" if has("tagging") => "GetObjectTagging",
            "GET" if of_an_object => "GetObject",
            "GET" if has("list-type") => "ListObjectsV2",
            _ => panic!("it is not known what {self} is"),
        }
    }

    /// Has it take place; gives the answer.
    async fn forward(self, s3: u16) -> io::Result<Message> {
        let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, s3)).await?;
        upstream.write_all(&self.0.closing().to_bytes()).await?;
        let mut answer = Message::begin(&mut upstream).await?;
        upstream.read_to_end(&mut answer.body).await?;
        Ok(answer.closing())
    }
}
