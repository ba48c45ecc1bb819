//! An S3 endpoint for benchmarks: buckets of objects that are computed when they are read, so that neither disks nor listings
//! of folders are what is measured.
//!
//! `synthetic_s3 ADDRESS [MILLISECONDS]` listens there, answers each request so much later, and signs nothing and checks no
//! signature. The bucket `set-COUNT-SIZE` has that many objects of that size, `media/000000000` and on, and `set-COUNT-SIZE-COUNT-SIZE` then others of another. Any other bucket
//! keeps what is uploaded: all but parts of files that end in `.tar` beyond 2 GiB, of which only the checksums are kept.
//! `GET /_stored` says the size of each object that was uploaded, `GET /_counts` what was asked since it was asked last, and
//! forgets what is stored.
#![expect(clippy::disallowed_macros, reason = "a program of its own, for people to read")]

mod answers;
mod http;
mod sets;
mod uploads;

use std::{env, sync::Arc, time::Duration};

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: synthetic_s3 ADDRESS [MILLISECONDS]")?;
    let latency = Duration::from_millis(arguments.next().map_or(Ok(0), |text| text.parse())?);
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    let endpoint = Arc::new(answers::Endpoint::new(latency));
    loop {
        let (connection, _) = listener.accept().await?;
        let endpoint = endpoint.clone();
        // A client that goes away in mid-sentence is its own affair.
        tokio::spawn(async move { http::serve(connection, &endpoint).await });
    }
}
