use std::{cell::Cell, fs};

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::scripted_server::{Asked, Reply, Server};
use holdfast_archive::checksum::Crc64Nvme;

/// Bytes that differ wherever one looks.
fn file() -> Vec<u8> {
    (0..300_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

fn expected(file: &[u8]) -> Expected {
    Expected::new(file.len() as u64, &Crc64Nvme::of(file).to_string()).unwrap()
}

/// What became of a download from `server` into `folder`, and how many fresh links it took.
async fn fetch(
    server: &Server,
    folder: &TempDir,
    file: &[u8],
    overwrite: bool,
) -> (Result<Outcome, String>, u32) {
    let http = client::http(Duration::from_secs(5), redirect::Policy::none()).unwrap();
    let asked = Cell::new(0);
    let fresh = async || {
        asked.set(asked.get() + 1);
        Ok(Link::new(server.url(&format!("/object?signature=fresh{}", asked.get()))))
    };
    let fetch = Fetch { http: &http, pause: Duration::from_millis(1), overwrite, progress: &|_| {} };
    let first = Link::new(server.url("/object?signature=first"));
    let outcome = fetch.run(first, fresh, &expected(file), &folder.path().join("x.dump")).await;
    (outcome.map_err(|failure| failure.to_string()), asked.get())
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn offsets(server: &Server) -> Vec<Option<usize>> {
    server.asked().iter().map(Asked::from).collect()
}

#[tokio::test]
async fn a_file_arrives_whole_under_its_name_only() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    let body = file.clone();
    let server = Server::start(move |_, asked| Reply::range(&body, asked)).await;
    let (outcome, fresh) = fetch(&server, &folder, &file, false).await;
    assert_eq!((outcome, fresh), (Ok(Outcome::Downloaded), 0));
    assert_eq!(names(&folder), ["x.dump"]);
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!(asked.header("authorization"), None, "the signed URL is the only signature");
}

#[tokio::test]
async fn an_empty_file_needs_no_request() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(|_, _| Reply::new(500, "")).await;
    assert_eq!(fetch(&server, &folder, b"", false).await.0, Ok(Outcome::Downloaded));
    assert!(server.asked().is_empty());
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), b"");
}

#[tokio::test]
async fn what_an_earlier_download_left_is_not_fetched_again() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    fs::write(folder.path().join("x.dump.part"), &file[..1_000_001]).unwrap();
    let body = file.clone();
    let server = Server::start(move |_, asked| Reply::range(&body, asked)).await;
    assert_eq!(fetch(&server, &folder, &file, false).await.0, Ok(Outcome::Resumed));
    assert_eq!(offsets(&server), [Some(1_000_001)]);
    assert_eq!(names(&folder), ["x.dump"]);
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_continued_where_it_did() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    let body = file.clone();
    let server = Server::start(move |n, asked| {
        let reply = Reply::range(&body, asked);
        if n < 7 { reply.cut_after(100_000) } else { reply }
    })
    .await;
    assert_eq!(fetch(&server, &folder, &file, false).await.0, Ok(Outcome::Downloaded));
    let expected: Vec<_> = (0..8).map(|n| (n > 0).then_some(n * 100_000)).collect();
    assert_eq!(offsets(&server), expected);
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
}

#[tokio::test]
async fn a_download_that_does_not_get_on_ends_and_keeps_what_it_has() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    let body = file.clone();
    let server =
        Server::start(move |n, asked| Reply::range(&body, asked).cut_after(if n == 0 { 5_000 } else { 0 }))
            .await;
    let error = fetch(&server, &folder, &file, false).await.0.unwrap_err();
    assert!(error.contains("5000 of 1200000 bytes"), "{error}");
    assert!(error.contains("run the same command"), "{error}");
    assert!(!error.contains("signature"), "{error}");
    assert_eq!(names(&folder), ["x.dump.part"]);
    assert_eq!(fs::read(folder.path().join("x.dump.part")).unwrap(), file[..5_000]);
}

#[rstest]
#[case(400)]
#[case(403)]
#[tokio::test]
async fn a_link_that_expired_is_replaced_and_the_download_goes_on(#[case] status: u16) {
    let (file, folder) = (file(), TempDir::new().unwrap());
    let body = file.clone();
    let server = Server::start(move |n, asked| match (n, asked.path.contains("fresh1")) {
        (0, _) => Reply::range(&body, asked).cut_after(7),
        (_, false) => Reply::new(status, "<Error><Message>Request has expired</Message></Error>"),
        (_, true) => Reply::range(&body, asked),
    })
    .await;
    assert_eq!(fetch(&server, &folder, &file, false).await, (Ok(Outcome::Downloaded), 1));
    assert_eq!(offsets(&server), [None, Some(7), Some(7)]);
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
}

#[tokio::test]
async fn links_that_are_never_accepted_end_it() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(|_, _| Reply::new(403, "")).await;
    let (outcome, fresh) = fetch(&server, &folder, b"abc", false).await;
    assert!(outcome.unwrap_err().contains("refuses fresh links too (403"));
    assert_eq!((server.asked().len(), fresh), (5, 4));
}

#[tokio::test]
async fn a_damaged_file_never_gets_its_name() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    let mut damaged = file.clone();
    damaged[600_000] ^= 1;
    let server = Server::start(move |_, asked| Reply::range(&damaged, asked)).await;
    let error = fetch(&server, &folder, &file, false).await.0.unwrap_err();
    assert!(error.contains("arrived damaged"), "{error}");
    assert!(names(&folder).is_empty());
}

#[tokio::test]
async fn leftovers_of_something_else_are_replaced_by_the_whole_file() {
    let (file, folder) = (file(), TempDir::new().unwrap());
    fs::write(folder.path().join("x.dump.part"), [0; 10]).unwrap();
    let body = file.clone();
    let server = Server::start(move |_, asked| Reply::range(&body, asked)).await;
    assert_eq!(fetch(&server, &folder, &file, false).await.0, Ok(Outcome::Downloaded));
    assert_eq!(offsets(&server), [Some(10), None]);
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
}

#[rstest]
#[case::ranges_unknown(|body: &[u8], _: &Asked| Reply::new(200, body))]
#[case::another_part(|body: &[u8], asked: &Asked| match asked.from() {
    Some(from) => Reply::new(206, &body[from + 1..]).header("content-range", format!("bytes {}-9/10", from + 1)),
    None => Reply::new(200, body),
})]
#[tokio::test]
async fn a_storage_that_answers_with_another_part_is_asked_for_the_whole(
    #[case] answer: fn(&[u8], &Asked) -> Reply,
) {
    let (file, folder) = (file(), TempDir::new().unwrap());
    fs::write(folder.path().join("x.dump.part"), &file[..10]).unwrap();
    let body = file.clone();
    let server = Server::start(move |_, asked| answer(&body, asked)).await;
    assert_eq!(fetch(&server, &folder, &file, false).await.0, Ok(Outcome::Downloaded));
    assert_eq!(fs::read(folder.path().join("x.dump")).unwrap(), file);
}

#[tokio::test]
async fn more_bytes_than_recorded_are_refused() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(|_, _| Reply::new(200, "abcd")).await;
    assert!(fetch(&server, &folder, b"abc", false).await.0.unwrap_err().contains("more than the 3 bytes"));
}

#[tokio::test]
async fn a_file_that_is_there_and_whole_is_left_alone() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x.dump"), "abc").unwrap();
    let server = Server::start(|_, _| Reply::new(500, "")).await;
    assert_eq!(fetch(&server, &folder, b"abc", false).await.0, Ok(Outcome::AlreadyThere));
    assert!(server.asked().is_empty());
    assert_eq!(names(&folder), ["x.dump"]);
}

#[rstest]
#[case(false, "mine")]
#[case(true, "abc")]
#[tokio::test]
async fn a_file_that_differs_is_replaced_only_when_asked(#[case] overwrite: bool, #[case] after: &str) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("x.dump"), "mine").unwrap();
    let server = Server::start(|_, _| Reply::new(200, "abc")).await;
    let outcome = fetch(&server, &folder, b"abc", overwrite).await.0;
    assert_eq!(outcome.is_ok(), overwrite, "{outcome:?}");
    assert_eq!(fs::read_to_string(folder.path().join("x.dump")).unwrap(), after);
}

#[tokio::test]
async fn two_downloads_of_one_file_do_not_mix() {
    let folder = TempDir::new().unwrap();
    let _other = part::Part::open(&folder.path().join("x.dump")).unwrap();
    let server = Server::start(|_, _| Reply::new(200, "abc")).await;
    assert!(fetch(&server, &folder, b"abc", false).await.0.unwrap_err().contains("by another process"));
}

/// `/dev/full` is a file without space left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_said_in_words() {
    let folder = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("x.dump.part")).unwrap();
    let server = Server::start(|_, _| Reply::new(200, "abc")).await;
    let error = fetch(&server, &folder, b"abc", false).await.0.unwrap_err();
    assert!(error.contains("no space left") && error.contains("--to"), "{error}");
    assert_eq!(names(&folder), ["x.dump.part"]);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let server = Server::start(|_, _| Reply::new(200, "abc")).await;
    fetch(&server, &folder, b"abc", false).await.0.unwrap();
    let mode = fs::metadata(folder.path().join("x.dump")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[rstest]
#[case("shop-20261124T030002Z-DEFAULT-database.dump", true)]
#[case("../x", false)]
#[case("/etc/passwd", false)]
#[case("a/b", false)]
#[case("a\\b", false)]
#[case(".bashrc", false)]
#[case("..", false)]
#[case("", false)]
#[case("a\nb", false)]
fn a_file_name_is_a_name_alone(#[case] name: &str, #[case] good: bool) {
    assert_eq!(file_name(name).is_ok(), good);
}
