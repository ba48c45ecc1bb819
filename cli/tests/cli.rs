//! The command line as a process: exit codes, standard output, standard error.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::process::{Command, Output, Stdio};

use rstest::rstest;

/// Runs it without AWS, without an API and without a home to find either in.
fn holdfast(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(arguments.split_whitespace()).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn run(arguments: &str) -> Output {
    holdfast(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_simulation_prints_one_json_document_and_nothing_else() {
    let output = run("retention simulate --policy gfs:7/4/12 --from 2025-01-01 --days 400 --output json");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |label: &str| {
        document["kept"].as_array().unwrap().iter().filter(|kept| kept["label"] == label).count()
    };
    assert_eq!((count("daily"), count("weekly"), count("monthly")), (7, 4, 12));
    let last = &document["kept"].as_array().unwrap()[22];
    assert_eq!((last["slot"].as_str(), last["label"].as_str()), (Some("2026-02-04"), Some("daily")));
    let discards =
        document["actions"].as_array().unwrap().iter().filter(|action| action["action"] == "discard");
    assert_eq!(discards.count(), 400 - 23);
}

#[test]
fn skipped_days_have_no_slot() {
    let output = run(
        "retention simulate --policy gfs:3/0/0 --from 2026-01-01 --days 9 --skip 2026-01-05..2026-01-07 --skip 2026-01-09..2026-01-09 -o json",
    );
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept: Vec<_> =
        document["kept"].as_array().unwrap().iter().map(|kept| kept["slot"].as_str().unwrap()).collect();
    assert_eq!(kept, ["2026-01-03", "2026-01-04", "2026-01-08"]);
}

#[test]
fn a_simulation_in_text_is_a_calendar_without_colours_where_nobody_sees_them() {
    let output = run("retention simulate --from 2025-01-01 --days 400");
    assert_eq!(output.status.code(), Some(0));
    let drawn = text(&output.stdout);
    assert!(
        drawn.contains("daily 7") && drawn.contains("weekly 4") && drawn.contains("monthly 12"),
        "{drawn}"
    );
    assert!(!drawn.contains('\x1b'), "{drawn}");
}

#[rstest]
#[case("", "Usage: holdfast")]
#[case("backup", "Usage: holdfast backup")]
#[case("retention simulate --from 2025-01-01", "--days")]
#[case("retention simulate --from 2025-01-01 --days 0", "--days is 0")]
#[case("retention simulate --from 2025-01-01 --days 10 --policy gfs:0/0/0", "keeps nothing")]
#[case("retention simulate --from 2025-01-01 --days 10 --policy gfs:7", "gfs:")]
#[case("apps list", "HOLDFAST_API")]
#[case("restore", "FILE")]
#[case("restore create shop", "--from")]
#[case("restore create shop --from latest", "HOLDFAST_API")]
#[case("apps list --api abc", "https://")]
#[case("apps list --api http://example.org", "use https")]
#[case(
    "apps list --api https://abc.execute-api.eu-central-1.amazonaws.com --region us-east-1",
    "eu-central-1"
)]
#[case("apps list --api http://127.0.0.1:9", "--region")]
#[case("catalog check --bucket backups", "--table")]
#[case("catalog rebuild --table records", "--bucket")]
fn wrong_usage_exits_with_2_and_says_what_to_do(#[case] arguments: &str, #[case] says: &str) {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(says), "{said}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn without_credentials_it_says_how_to_get_some() {
    let output = holdfast("apps list --api http://127.0.0.1:9 --region eu-central-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no AWS credentials") && said.contains("--profile"), "{said}");
}

#[test]
fn without_an_api_at_the_address_it_exits_with_1() {
    // A port of the loopback that nothing listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = holdfast(&format!("apps list --api http://api.localhost:{port} --region eu-central-1"))
        .envs([("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be reached") && !said.contains("wJalr"), "{said}");
}

#[rstest]
#[case("not json", "not a JSON document")]
#[case("", "not a JSON document")]
fn a_document_that_is_not_json_is_refused_before_anything_is_sent(
    #[case] document: &str,
    #[case] says: &str,
) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, document).unwrap();
    let line = format!(
        "apps put shop --file {} --api http://127.0.0.1:9 --region eu-central-1",
        file.path().display()
    );
    let output = run(&line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(says), "{said}");
}

/// The reader goes away after a line: no panic, no complaint.
#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let mut child = holdfast("retention simulate --from 2000-01-01 --days 9000 --output json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn completions_know_the_commands() {
    let script = text(&run("completions bash").stdout);
    assert!(script.contains("simulate") && script.contains("--no-safety-backup"));
}

/// The command line against an API that answers from a table, as another process sees it.
#[cfg(unix)]
mod against_an_api {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpListener,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;

    const ID: &str = "018bcfe5-6800-7707-8707-070707070707";

    /// Answers each request with what `answer` says to its first line, and keeps its head and body.
    fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).unwrap();
                asked.lock().unwrap().push(format!("{head}{}", text(&body)));
                let (status, body) = answer(head.lines().next().unwrap());
                let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\nretry-after: 0\r\n");
                write!(stream.get_mut(), "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        (port, log)
    }

    fn backup(state: &str) -> String {
        let failure = if state == "failed" { r#"{"code":"x","message":"no such database"}"# } else { "null" };
        format!(
            r#"{{"id":"{ID}","application":"shop","trigger":"on_demand","state":"{state}","created_at":"2026-11-24T08:00:00Z","failure":{failure}}}"#
        )
    }

    fn signed(port: u16, arguments: &str) -> Command {
        let mut command = holdfast(&format!(
            "{arguments} --region eu-central-1 --api http://x.execute-api.localhost:{port}"
        ));
        command.envs([("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")]);
        command
    }

    #[rstest]
    #[case("succeeded", 0, "")]
    #[case("failed", 1, "no such database")]
    #[case("cancelled", 1, "is cancelled")]
    fn a_backup_is_asked_for_and_followed_to_its_end(
        #[case] end: &'static str,
        #[case] code: i32,
        #[case] says: &str,
    ) {
        let (port, log) =
            serve(
                move |line| {
                    if line.starts_with("POST") { (202, backup("queued")) } else { (200, backup(end)) }
                },
            );
        let line =
            "backup create shop --service DEFAULT --note tested --expires 2027-01-01T00:00:00+01:00 -o json";
        let output = signed(port, line).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["state"], end);
        let asked = log.lock().unwrap();
        let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/applications/shop/backups HTTP"), "{head}");
        assert!(
            head.contains("idempotency-key: ") && head.contains("authorization: AWS4-HMAC-SHA256"),
            "{head}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected = serde_json::json!({"services": ["DEFAULT"], "note": "tested", "expires_at": "2026-12-31T23:00:00Z"});
        assert_eq!(body, expected);
    }

    #[test]
    fn detached_it_returns_at_once() {
        let (port, log) = serve(|_| (202, backup("queued")));
        let output = signed(port, "backup create shop --detach --idempotency-key mine").output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).starts_with(ID));
        let asked = log.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert!(
            asked[0].contains("idempotency-key: mine") && asked[0].ends_with("\r\n\r\n{}"),
            "{}",
            asked[0]
        );
    }

    #[test]
    fn interrupted_it_says_that_the_backup_goes_on_and_exits_with_130() {
        let (port, log) = serve(|_| (200, backup("running")));
        let child = signed(port, &format!("backup follow shop {ID}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while log.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(
            said.contains("goes on") && said.contains(&format!("holdfast backup cancel shop {ID}")),
            "{said}"
        );
    }

    #[test]
    fn a_download_ends_as_a_checked_file() {
        let port = Arc::new(Mutex::new(0));
        let own = Arc::clone(&port);
        let (served, log) = serve(move |line| {
            let storage = format!("http://storage.localhost:{}/object?signature=secret", own.lock().unwrap());
            let object = r#"{"size":9,"crc64nvme":"rosUhgp5mIg=","storage_class":"STANDARD_IA","encryption":{"algorithm":"aws:kms"}}"#;
            let artifact =
                format!(r#""artifacts":[{{"service":"DEFAULT","milliseconds":5,"object":{object}}}]}}"#);
            match line {
                line if line.contains("/artifacts/DEFAULT ") => (
                    200,
                    format!(
                        r#"{{"url":"{storage}","expires_at":"2026-11-24T09:00:00Z","size":9,"crc64nvme":"rosUhgp5mIg=","file_name":"shop.dump"}}"#
                    ),
                ),
                line if line.contains("/object?signature=secret ") => (200, "123456789".to_owned()),
                _ => (200, backup("succeeded").replace(r#""failure":null}"#, &artifact)),
            }
        });
        *port.lock().unwrap() = served;
        let folder = tempfile::TempDir::new().unwrap();
        let line = format!("backup download shop latest --to {}/new -o json", folder.path().display());
        for outcome in ["downloaded", "already_there"] {
            let output = signed(served, &line).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(!said.contains("secret"), "{said}");
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(document["files"][0]["outcome"], outcome);
            assert_eq!(std::fs::read_to_string(folder.path().join("new/shop.dump")).unwrap(), "123456789");
        }
        let asked = log.lock().unwrap();
        assert_eq!(asked.iter().filter(|asked| asked.contains("/object?")).count(), 1);
    }
}
