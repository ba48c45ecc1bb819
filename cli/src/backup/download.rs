//! `holdfast backup download`: what a backup holds, as files that are known to be whole.

mod fetch;
pub(super) mod part;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use holdfast_domain::id::ServiceName;
use indicatif::ProgressBar;
use reqwest::redirect;
use serde::{Deserialize, Serialize};

use self::fetch::{Expected, Fetch, Link, Outcome};
use super::{path_of, view::View};
use crate::{
    arguments::{Download, Which},
    client::{self, Call, Client},
    failure::Failure,
    table::{Table, plain, size},
    terminal::{Terminal, bar_style},
};

/// How long the storage may send nothing before the connection counts as broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The pause after the first attempt that brought nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the API says an artifact can be downloaded. The URL is a secret, so this has no `Debug`.
#[derive(Deserialize)]
struct Place {
    url: String,
    size: u64,
    crc64nvme: String,
    file_name: String,
}

/// What was downloaded.
#[derive(Serialize)]
struct Report {
    application: String,
    backup: String,
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    service: String,
    path: PathBuf,
    size: u64,
    crc64nvme: String,
    outcome: Outcome,
}

/// Downloads what a backup holds of all services, or of those named.
pub(super) async fn run(options: Download, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let to = options.to.display().to_string();
    tokio::select! {
        done = download(options, client, terminal) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted("interrupted; what has arrived is kept")
            .fix(format!("run the same command to go on, or delete the .part file in {to}"))),
    }
}

async fn download(options: Download, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let view: View = client.call(&Call::get(path_of(&options.app, options.backup))).await?.read()?;
    let services = chosen(&view, &options.services)?;
    // From here on the backup is named by its id: another may become the latest meanwhile.
    let id = view.id.parse().map(Which::Id).map_err(|_| Failure::new("the API's answer names no backup"))?;
    fs::create_dir_all(&options.to).map_err(|error| {
        Failure::new(format!("the folder {} cannot be made: {error}", options.to.display()))
    })?;
    let http = client::http(PATIENCE, redirect::Policy::limited(3))?;

    let mut report =
        Report { application: view.application.clone(), backup: view.id.clone(), files: Vec::new() };
    for service in services {
        let path = format!("{}/artifacts/{service}", path_of(&options.app, id));
        let place = async || client.call(&Call::get(&path)).await?.read::<Place>();
        let first = place().await?;
        let target = options.to.join(file_name(&first.file_name)?);
        let expected = Expected::new(first.size, &first.crc64nvme)?;
        let bar = Bar::new(&service, &target, first.size, terminal);
        let fetch = Fetch {
            http: &http,
            pause: PAUSE,
            overwrite: options.overwrite,
            progress: &|bytes| bar.show(bytes),
        };
        let fresh = async || Ok(Link::new(place().await?.url));
        let outcome = fetch.run(Link::new(first.url), fresh, &expected, &target).await;
        bar.end();
        report.files.push(File {
            service,
            path: target,
            size: first.size,
            crc64nvme: first.crc64nvme,
            outcome: outcome?,
        });
    }
    print(&report, terminal)
}

/// The services to download, in the order of the backup.
fn chosen(view: &View, wanted: &[ServiceName]) -> Result<Vec<String>, Failure> {
    let has: Vec<&str> = view.artifacts.iter().map(|artifact| artifact.service.as_str()).collect();
    if let Some(missing) = wanted.iter().find(|service| !has.contains(&service.as_str())) {
        return Err(Failure::new(format!(
            "the backup {} holds nothing of the service {missing}",
            plain(&view.id)
        ))
        .fix(format!("choose from: {}", plain(&has.join(", ")))));
    }
    if has.is_empty() {
        let what =
            format!("the backup {} is {} and holds nothing to download", plain(&view.id), plain(&view.state));
        return Err(Failure::new(what).fix("choose one that succeeded, or `latest`"));
    }
    let all = wanted.is_empty();
    let picked =
        has.into_iter().filter(|service| all || wanted.iter().any(|wanted| wanted.as_str() == *service));
    Ok(picked.map(str::to_owned).collect())
}

/// The name to save a file under: a name alone, whatever the API says.
pub(super) fn file_name(name: &str) -> Result<&str, Failure> {
    let alone = Path::new(name).file_name().is_some_and(|alone| alone == name);
    if alone && !name.starts_with('.') && !name.contains(['\\', ':']) && plain(name) == name {
        Ok(name)
    } else {
        Err(Failure::new(format!("the API gave a file name that cannot be used: {name:?}")))
    }
}

/// How far a file has come, for people.
enum Bar {
    Drawn(ProgressBar),
    Quiet,
}

impl Bar {
    fn new(service: &str, target: &Path, bytes: u64, terminal: &Terminal) -> Self {
        if !terminal.is_watched() {
            terminal.note(&format!("{}: {} to {}", plain(service), size(bytes), target.display()));
            return Self::Quiet;
        }
        let bar = ProgressBar::new(bytes);
        bar.set_style(bar_style("{prefix:<16} {bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"));
        bar.set_prefix(plain(service));
        Self::Drawn(bar)
    }

    fn show(&self, bytes: u64) {
        if let Self::Drawn(bar) = self {
            bar.set_position(bytes);
        }
    }

    fn end(&self) {
        if let Self::Drawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn print(report: &Report, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(report);
    }
    let mut table = Table::new(["SERVICE", "SIZE", "CRC64NVME", "", "FILE"]).right([1]);
    for file in &report.files {
        table.row([
            file.service.clone(),
            size(file.size),
            file.crc64nvme.clone(),
            file.outcome.words().to_owned(),
            file.path.display().to_string(),
        ]);
    }
    terminal.print(&table.to_string())
}

#[cfg(test)]
mod tests;
