//! One emulated AWS for all tests of this program.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use holdfast_aws::wire;

/// The region the emulator plays.
pub(crate) const REGION: &str = "eu-central-1";
/// How long it may take to begin, on a machine that is busy compiling.
const START: Duration = Duration::from_mins(2);

struct Emulator {
    port: u16,
    /// Ends the emulator when this process is gone, however it went: its standard input ends then.
    guard: Child,
}

/// The SDK's configuration for the emulator, which the first caller starts.
pub(crate) async fn sdk() -> SdkConfig {
    let port = port_of_s3().await;
    wire::sdk_loader()
        .region(Region::new(REGION))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(Credentials::new("test", "test", None, None, "contract tests"))
        .load()
        .await
}

/// The port of the emulator's S3, which the first caller starts.
pub(crate) async fn port_of_s3() -> u16 {
    tokio::task::spawn_blocking(port).await.unwrap()
}

/// A name that no other test uses, for tables and buckets.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn port() -> u16 {
    static EMULATOR: Mutex<Option<Emulator>> = Mutex::new(None);
    EMULATOR.lock().unwrap().get_or_insert_with(start).port
}

fn start() -> Emulator {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.join("../..");
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make install` first", python.display());
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let guard = Command::new(python)
        .arg(package.join("tests/contract/emulator.py"))
        .args([&port.to_string(), REGION])
        .current_dir(&root)
        .env("PYTHONPATH", &root)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut emulator = Emulator { port, guard };
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(emulator.guard.try_wait().unwrap().is_none(), "the emulator ended; its words are above");
        assert!(begun.elapsed() < START, "the emulator does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    emulator
}
