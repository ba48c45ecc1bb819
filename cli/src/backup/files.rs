//! `holdfast backup files`, `cat` and `get`: looking into a media archive, and taking one file out.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use holdfast_archive::checksum::{Crc64NvmeHasher, Sha256Hasher};
use holdfast_domain::id::{ApplicationId, ServiceName};
use http::{StatusCode, header};
use reqwest::redirect;
use serde::Deserialize;

use super::{
    download::{
        PATIENCE, file_name,
        part::{self, Part},
    },
    path_of,
    view::View,
};
use crate::{
    arguments::{ArchivedFile, Files, Which},
    client::{self, Call, Client},
    failure::{Failure, chain},
    listing,
    table::{Table, plain, size},
    terminal::Terminal,
};

/// What the table shows of an entry.
#[derive(Deserialize)]
struct Entry {
    key: String,
    kind: String,
    size: Option<u64>,
    last_modified: Option<String>,
    reason: Option<String>,
}

/// Where the API says a file is. The URL is a secret, so this has no `Debug`.
#[derive(Deserialize)]
struct Place {
    size: u64,
    sha256: Option<String>,
    crc64nvme: Option<String>,
    /// Absent for an empty file.
    url: Option<String>,
    range: Option<String>,
}

/// Lists the files of an archive.
pub(super) async fn list(options: Files, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let path = files_path(&options.app, options.backup, options.service.as_ref(), client).await?;
    let mut call = Call::get(path);
    if let Some(prefix) = options.prefix {
        call = call.query("prefix", prefix);
    }
    let items = listing::items(client, call, options.limit).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["KEY", "SIZE", "MODIFIED", ""]).right([1]);
    for entry in listing::read::<Entry>(items)? {
        let remark = match (entry.kind.as_str(), entry.reason) {
            ("file", _) => String::new(),
            ("skipped", reason) => format!("left out: {}", reason.unwrap_or_default()),
            (kind, _) => kind.to_owned(),
        };
        let bytes = entry.size.map_or_else(|| "-".to_owned(), size);
        table.row([entry.key, bytes, entry.last_modified.unwrap_or_else(|| "-".to_owned()), remark]);
    }
    if table.is_empty() {
        return terminal.line("no files there; look without --prefix");
    }
    terminal.print(&table.to_string())
}

/// Writes one file to standard output.
pub(super) async fn cat(file: ArchivedFile, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let place = find(&file, client).await?;
    fetch(&place, &file.key, &mut |bytes| terminal.write(bytes)).await
}

/// Takes one file out.
pub(super) async fn get(
    file: ArchivedFile,
    to: Option<PathBuf>,
    overwrite: bool,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let target = match to {
        Some(target) => target,
        None => name_of(&file.key)?.into(),
    };
    if !overwrite && target.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} is there already", target.display()))
            .fix("move it away, name another file with --to, or replace it with --overwrite"));
    }
    let place = find(&file, client).await?;
    take(&place, &file.key, &target, overwrite).await?;
    terminal.line(&format!("{} ({})", target.display(), size(place.size)))
}

/// Writes the file under its name once it is whole.
async fn take(place: &Place, key: &str, target: &Path, overwrite: bool) -> Result<(), Failure> {
    let mut part: Part = part::Part::open(target)?;
    part.restart()?;
    if let Err(failure) = fetch(place, key, &mut |bytes| part.write(bytes)).await {
        part.discard();
        return Err(failure);
    }
    part.finish(target, overwrite)
}

/// The name to save a file under, from its key.
fn name_of(key: &str) -> Result<&str, Failure> {
    let last = key.rsplit('/').next().unwrap_or_default();
    file_name(last).map_err(|_| {
        Failure::usage(format!("the key {key:?} gives no good name for a file")).fix("name one with --to")
    })
}

async fn find(file: &ArchivedFile, client: &Client) -> Result<Place, Failure> {
    let path = files_path(&file.app, file.backup, file.service.as_ref(), client).await?;
    // The empty key is that of an object which is named by the service's whole prefix.
    let name = if file.key.is_empty() { "_".to_owned() } else { BASE64_URL_SAFE_NO_PAD.encode(&file.key) };
    let path = format!("{path}/{name}");
    client.call(&Call::get(path)).await?.read()
}

/// The path of the files of the one archive that is meant.
async fn files_path(
    app: &ApplicationId,
    backup: Which,
    service: Option<&ServiceName>,
    client: &Client,
) -> Result<String, Failure> {
    let view: View = client.call(&Call::get(path_of(app, backup))).await?.read()?;
    let id = view.id.parse().map(Which::Id).map_err(|_| Failure::new("the API's answer names no backup"))?;
    let service = match service {
        Some(service) => service.to_string(),
        None => only_archive(&view)?,
    };
    Ok(format!("{}/artifacts/{service}/files", path_of(app, id)))
}

fn only_archive(view: &View) -> Result<String, Failure> {
    let is_media = |artifact: &&super::view::Artifact| artifact.contents.format == "media_tar";
    let archives: Vec<&str> =
        view.artifacts.iter().filter(is_media).map(|artifact| artifact.service.as_str()).collect();
    match archives.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Failure::new(format!("the backup {} holds no media archive", plain(&view.id)))
            .fix("choose one that succeeded, of an application with a storage service")),
        several => Err(Failure::usage("the backup holds several media archives")
            .fix(format!("name one with --service: {}", plain(&several.join(", "))))),
    }
}

/// Hands the bytes of a file to `take` as they come, and compares them with the checksum at the end.
async fn fetch(
    place: &Place,
    key: &str,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let again = "run the same command again";
    let (Some(url), Some(range)) = (&place.url, &place.range) else {
        // Of no bytes there is no range.
        return if place.size == 0 {
            Ok(())
        } else {
            Err(Failure::new(format!("the API does not say where the bytes of {key:?} are")).fix(again))
        };
    };
    let http = client::http(PATIENCE, redirect::Policy::none())?;
    let broken = |error: reqwest::Error| {
        // It would quote the signed URL.
        Failure::new(format!("{key:?} cannot be downloaded: {}", chain(error.without_url()))).fix(again)
    };
    let mut response = http.get(url).header(header::RANGE, range).send().await.map_err(broken)?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Err(
            Failure::new(format!("the storage answered {} for {key:?}", response.status())).fix(again)
        );
    }
    let (mut sha256, mut crc64nvme, mut length) = (Sha256Hasher::new(), Crc64NvmeHasher::new(), 0);
    while let Some(bytes) = response.chunk().await.map_err(broken)? {
        sha256.update(&bytes);
        crc64nvme.update(&bytes);
        length += bytes.len() as u64;
        if length > place.size {
            break;
        }
        take(&bytes)?;
    }
    let sha256 = place.sha256.as_ref().is_none_or(|sum| *sum == sha256.finish().to_string());
    let crc64nvme = place.crc64nvme.as_ref().is_none_or(|sum| *sum == crc64nvme.finish().to_string());
    if length == place.size && sha256 && crc64nvme {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{key:?} arrived damaged: its size or its checksum is not that of the archive's manifest"
    ))
    .fix(format!("{again}; if that ends the same way, use another backup and report this one")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use holdfast_archive::checksum::{Crc64Nvme, Sha256};
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        client::tests::client,
        scripted_server::{Reply, Server},
    };

    const BODY: &[u8] = b"the bytes of a file";

    fn place(server: &Server) -> Place {
        Place {
            size: BODY.len() as u64,
            sha256: Some(Sha256::of(BODY).to_string()),
            crc64nvme: None,
            url: Some(server.url("/media.tar?X-Amz-Signature=secret")),
            range: Some("bytes=512-530".to_owned()),
        }
    }

    #[tokio::test]
    async fn a_file_is_asked_for_by_its_range_and_appears_once_it_is_whole() {
        let server = Server::start(|_, _| Reply::new(206, BODY)).await;
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("a.txt");
        take(&place(&server), "a.txt", &target, false).await.unwrap();
        assert_eq!(fs::read(&target).unwrap(), BODY);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let [asked] = server.asked().try_into().unwrap();
        assert_eq!((asked.header("range"), asked.header("authorization")), (Some("bytes=512-530"), None));
    }

    #[rstest]
    #[case::other_bytes(206, b"THE BYTES OF A FILE", "damaged")]
    #[case::too_few(206, b"the bytes", "damaged")]
    #[case::too_many(206, b"the bytes of a file and the next", "damaged")]
    #[case::the_whole_tar(200, BODY, "200")]
    #[case::expired(403, b"<Error/>", "403")]
    #[tokio::test]
    async fn what_is_not_the_file_leaves_nothing(
        #[case] status: u16,
        #[case] body: &'static [u8],
        #[case] said: &str,
    ) {
        let server = Server::start(move |_, _| Reply::new(status, body)).await;
        let folder = TempDir::new().unwrap();
        let failure = take(&place(&server), "a.txt", &folder.path().join("a.txt"), false).await.unwrap_err();
        let text = failure.to_string();
        assert!(text.contains(said) && !text.contains("secret"), "{text}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[rstest]
    #[case::empty(0, true)]
    #[case::of_which_nothing_is_said(19, false)]
    #[tokio::test]
    async fn only_an_empty_file_needs_no_url(#[case] size: u64, #[case] arrives: bool) {
        let folder = TempDir::new().unwrap();
        let place = Place { size, sha256: None, crc64nvme: None, url: None, range: None };
        let outcome = take(&place, "a.txt", &folder.path().join("a.txt"), false).await;
        assert_eq!(
            (outcome.is_ok(), fs::read_dir(&folder).unwrap().count()),
            (arrives, usize::from(arrives))
        );
    }

    #[tokio::test]
    async fn a_copied_file_is_compared_with_its_crc() {
        let server = Server::start(|_, _| Reply::new(206, BODY)).await;
        let mut place =
            Place { sha256: None, crc64nvme: Some(Crc64Nvme::of(BODY).to_string()), ..place(&server) };
        let mut got = Vec::new();
        let mut keep = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        fetch(&place, "a", &mut keep).await.unwrap();
        assert_eq!(got, BODY);
        place.crc64nvme = Some("AAAAAAAAAAA=".to_owned());
        assert!(fetch(&place, "a", &mut |_| Ok(())).await.is_err());
    }

    #[tokio::test]
    async fn the_only_archive_needs_no_name() {
        let server = Server::start(|_, _| {
            let artifact = |service: &str, format: &str| {
                format!(
                    r#"{{"service":"{service}","milliseconds":1,"contents":{{"format":"{format}"}},
                    "object":{{"size":1,"crc64nvme":"","storage_class":"","encryption":{{"algorithm":""}}}}}}"#
                )
            };
            let artifacts = [artifact("DEFAULT", "postgres_custom"), artifact("MEDIA", "media_tar")].join(",");
            Reply::new(
                200,
                format!(
                    r#"{{"id":"018bcfe5-6800-7707-8707-070707070707","application":"shop","trigger":"scheduled",
                    "state":"succeeded","created_at":"2026-01-01T00:00:00Z","artifacts":[{artifacts}]}}"#
                ),
            )
        })
        .await;
        let path = files_path(&"shop".parse().unwrap(), Which::Latest, None, &client(&server)).await.unwrap();
        assert_eq!(
            path,
            "/v1/applications/shop/backups/018bcfe5-6800-7707-8707-070707070707/artifacts/MEDIA/files"
        );
    }

    #[rstest]
    #[case("photos/a.jpg", Some("a.jpg"))]
    #[case("a", Some("a"))]
    #[case("folder/", None)]
    #[case("a/..", None)]
    #[case("a/.hidden", None)]
    #[case("", None)]
    fn a_key_gives_a_name_or_none(#[case] key: &str, #[case] name: Option<&str>) {
        assert_eq!(name_of(key).ok(), name);
    }
}
