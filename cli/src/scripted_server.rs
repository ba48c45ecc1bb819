//! An HTTP server on the loopback that answers by a script; for tests.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A request as it arrived: the header names are in lower case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first byte asked for, `Range: bytes=5-`.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    sent: usize,
}

impl Reply {
    /// The whole of `body`.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), sent: body.len(), body }
    }

    /// The part of `file` that was asked for.
    pub(crate) fn range(file: &[u8], asked: &Asked) -> Self {
        match asked.from() {
            None => Self::new(200, file),
            Some(from) if from >= file.len() => Self::new(416, ""),
            Some(from) => Self::new(206, &file[from..])
                .header("content-range", format!("bytes {from}-{}/{}", file.len() - 1, file.len())),
        }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Promises the whole body and closes the connection after `bytes` of it.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.sent = bytes.min(self.body.len());
        self
    }
}

/// The server; it stops with the test's runtime.
pub(crate) struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Starts one that answers its n-th request, counted from 0, with `script(n, request)`.
    pub(crate) async fn start(script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else { continue };
                let number = {
                    let mut asked = asked.lock().unwrap();
                    asked.push(request.clone());
                    asked.len() - 1
                };
                write(&mut stream, script(number, &request)).await;
            }
        });
        Self { address, log }
    }

    /// Its address, under a name that only this command line resolves.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://storage.localhost:{}{path}", self.address.port())
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let mut asked =
        Asked { method: first.next()?.to_owned(), path: first.next()?.to_owned(), ..Asked::default() };
    asked.headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = String::from_utf8(bytes[head + 4..].to_vec()).unwrap();
    Some(asked)
}

/// One answer for each connection: each request in the log is then one that was really made.
async fn write(stream: &mut TcpStream, reply: Reply) {
    let mut head = format!(
        "HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
    let _ = stream.write_all(&reply.body[..reply.sent]).await;
    let _ = stream.shutdown().await;
}
