//! `holdfast dump`: a database as one archive in a file. Needs no API and no AWS.

mod part;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdfast_archive::multipart::Segment;
use holdfast_backup::{
    engines::{
        Engine, EngineReport,
        postgres::{ClientTools, DumpAdvance, DumpOptions, DumpProgress, PostgresEngine},
        segments::{self, HeldSegment, SegmentReceiver},
    },
    ports::DatabaseCredentials,
};
use holdfast_domain::backup::Contents;
use indicatif::ProgressBar;
use secrecy::SecretString;
use serde::Serialize;

use self::part::PartFile;
use crate::{
    arguments::Dump,
    clock::{self, SystemClock},
    failure::Failure,
    interrupts::Interrupts,
    moment,
    postgres::{connection::Connection, environment, failed},
    table::{plain, size},
    terminal::{Terminal, bar_style},
};

/// How often progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How long the engine may take to end its sessions.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What was dumped.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    bytes: u64,
    crc64nvme: String,
    database: String,
    server_version: String,
    pg_dump_version: String,
    tables: u64,
    rows: u64,
    milliseconds: u64,
}

/// Dumps the database that the options and the environment name.
pub(crate) async fn run(options: Dump, terminal: &Terminal) -> Result<(), Failure> {
    let connection = Connection::of(options.dsn.as_deref(), &environment::read())?;
    let password = connection.password()?;
    let tools: ClientTools =
        options.clients.parse().map_err(|error| Failure::usage(format!("--clients: {error}")))?;
    let mut interrupts = Interrupts::new()?;
    let target = Path::new(&options.output);
    PartFile::check(target, options.overwrite)?;
    let credentials =
        DatabaseCredentials { username: connection.user.clone(), password: SecretString::from(password) };
    let engine = PostgresEngine::new(connection.service()?, credentials, tools, Arc::new(SystemClock))
        .with_options(DumpOptions { jobs: options.jobs, compression: options.compress });

    let began = clock::now();
    let progress = engine.progress();
    let bar = Bar::new(&connection.database, terminal);
    let drawing = async {
        loop {
            bar.show(&progress);
            tokio::time::sleep(DRAW_EVERY).await;
        }
    };
    let outcome = tokio::select! {
        outcome = dump(&engine, target, options.overwrite, &mut interrupts) => outcome,
        never = drawing => never,
    };
    bar.end();
    let (part, report) = outcome?;
    let (bytes, crc64nvme) = (part.bytes(), part.crc64nvme().to_string());
    let file = part.keep()?;
    let Contents::PostgresCustom { database, server_version, pg_dump_version } = report.contents else {
        return Err(Failure::new("the dump is of another kind than was asked for; please report this"));
    };
    let DumpAdvance { tables, rows, .. } = progress.advance();
    let milliseconds = u64::try_from((clock::now() - began).num_milliseconds()).unwrap_or(0);
    let report = Report {
        file,
        bytes,
        crc64nvme,
        database,
        server_version,
        pg_dump_version,
        tables,
        rows,
        milliseconds,
    };
    print(&report, terminal)
}

/// Dumps into what is to be `target`, until it is whole, or somebody interrupts. In either case nothing of the dump runs any more then.
async fn dump(
    engine: &PostgresEngine,
    target: &Path,
    overwrite: bool,
    interrupts: &mut Interrupts,
) -> Result<(PartFile, EngineReport), Failure> {
    tokio::select! {
        prepared = engine.prepare() => prepared.map_err(|error| failed(&error))?,
        () = interrupts.come() => return Err(interrupted()),
    };
    // Not before: until here nothing has to be cleaned up, however this process ends.
    let mut part = PartFile::create(target, overwrite)?;
    let (out, segments) = segments::channel(&target.display().to_string());
    let mut running = engine.run(out);
    let storing = store(segments, &mut part);
    let stopped = {
        let mut storing = std::pin::pin!(storing);
        let (mut report, mut stored) = (None, false);
        loop {
            tokio::select! {
                ended = &mut running, if report.is_none() => match ended {
                    Ok(ended) => report = Some(ended),
                    Err(error) => return Err(failed(&error)),
                },
                ended = &mut storing, if !stored => match ended {
                    Ok(()) => stored = true,
                    Err(failure) => break Err(failure),
                },
                () = interrupts.come() => break Err(interrupted()),
            }
            if stored && let Some(report) = report.take() {
                break Ok(report);
            }
        }
    };
    match stopped {
        Ok(report) => {
            drop(running);
            Ok((part, report))
        }
        Err(failure) => {
            // What stores the segments is gone, and so the engine ends.
            let _ = tokio::time::timeout(END_WITHIN, running).await;
            Err(failure)
        }
    }
}

/// Writes segments to their places in the file.
async fn store(mut segments: SegmentReceiver, part: &mut PartFile) -> Result<(), Failure> {
    while let Some(HeldSegment { segment, room }) = segments.next().await {
        let Segment { number, bytes, crc64nvme } = segment;
        part.write(number, bytes, crc64nvme).await?;
        drop(room);
    }
    Ok(())
}

fn interrupted() -> Failure {
    Failure::interrupted("interrupted; nothing is left of the dump")
}

/// How far the dump has come, for people.
enum Bar {
    Drawn(ProgressBar),
    Quiet,
}

impl Bar {
    fn new(database: &str, terminal: &Terminal) -> Self {
        if !terminal.is_watched() {
            return Self::Quiet;
        }
        let bar = ProgressBar::new(0);
        bar.set_style(bar_style("{prefix} {bar:30} {percent:>3} %  {msg}"));
        bar.set_prefix(plain(database));
        Self::Drawn(bar)
    }

    fn show(&self, progress: &DumpProgress) {
        let Self::Drawn(bar) = self else { return };
        let DumpAdvance { tables, tables_done, table_bytes, table_bytes_done, raw_bytes, .. } =
            progress.advance();
        bar.set_length(table_bytes.max(1));
        bar.set_position(table_bytes_done);
        let seconds = bar.elapsed().as_secs().max(1);
        let mut words =
            format!("{}, {}/s, {tables_done} of {tables} tables", size(raw_bytes), size(raw_bytes / seconds));
        if let Some(left) =
            (table_bytes.saturating_sub(table_bytes_done) * seconds).checked_div(table_bytes_done)
        {
            words = format!("{words}, {} left", moment::span(left));
        }
        bar.set_message(words);
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
    terminal.line(&format!(
        "{}: {} of {} (PostgreSQL {}), {} rows in {} tables, in {}.{:01} s; CRC64NVME {}",
        report.file.display(),
        size(report.bytes),
        plain(&report.database),
        plain(&report.server_version),
        report.rows,
        report.tables,
        report.milliseconds / 1000,
        report.milliseconds % 1000 / 100,
        report.crc64nvme,
    ))
}
