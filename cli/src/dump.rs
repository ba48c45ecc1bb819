//! `holdfast dump`: a database as one archive, in a file or in a bucket. Needs no API.

mod bar;
mod file;
mod part;

use std::sync::Arc;

use holdfast_backup::{
    engines::{
        Engine as _, EngineReport,
        postgres::{ClientTools, DumpAdvance, DumpOptions, PostgresEngine},
    },
    error::SliceError,
    ports::DatabaseCredentials,
    upload::{Advance, Stored},
};
use holdfast_domain::backup::Contents;
use secrecy::SecretString;
use serde::Serialize;

use self::part::PartFile;
use crate::{
    address::{Address, Target},
    arguments::{self, Dump},
    buckets::Buckets,
    clock::{self, SystemClock},
    failure::Failure,
    interrupts::Interrupts,
    new_file,
    place::Place,
    postgres::{connection::Connection, environment, failed},
    table::{plain, size},
    terminal::{DRAW_EVERY, Terminal},
    upload,
};

/// What was dumped.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    place: Place,
    bytes: u64,
    crc64nvme: String,
    database: String,
    server_version: String,
    pg_dump_version: String,
    tables: u64,
    rows: u64,
    milliseconds: u64,
}

/// A dump that is whole.
enum Written {
    /// In a file that has no name yet.
    File(PartFile, EngineReport),
    Object(Place, Stored),
}

impl Written {
    /// Where it stands, its size, its checksum, and what the engine says about it.
    fn kept(self) -> Result<(Place, u64, String, EngineReport), Failure> {
        match self {
            Self::File(part, report) => {
                let (bytes, crc64nvme) = (part.bytes(), part.crc64nvme().to_string());
                Ok((Place::File { file: part.keep()? }, bytes, crc64nvme, report))
            }
            Self::Object(place, Stored { object, report }) => {
                Ok((place, object.size, object.crc64nvme, report))
            }
        }
    }
}

/// Dumps the database that the options and the environment name.
pub(crate) async fn run(
    options: Dump,
    aws: &arguments::Connection,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let connection = Connection::of(options.dsn.as_deref(), &environment::read())?;
    let password = connection.password()?;
    let tools: ClientTools =
        options.clients.parse().map_err(|error| Failure::usage(format!("--clients: {error}")))?;
    let output = Target::of(&options.output)?;
    options.stored.check(&output)?;
    if let Target::File(target) = &output {
        new_file::check(target, options.stored.overwrite)?;
    }
    let credentials =
        DatabaseCredentials { username: connection.user.clone(), password: SecretString::from(password) };
    let engine = PostgresEngine::new(connection.service()?, credentials, tools, Arc::new(SystemClock))
        .with_options(DumpOptions { jobs: options.jobs, compression: options.compress, row_counts: false });

    let mut interrupts = Interrupts::new()?;
    let began = clock::now();
    let progress = engine.progress();
    let bar = terminal.bar(&connection.database);
    let outcome = match &output {
        Target::File(target) => {
            let drawing = async {
                loop {
                    bar::show(&bar, &progress);
                    tokio::time::sleep(DRAW_EVERY).await;
                }
            };
            tokio::select! {
                outcome = file::dump(&engine, target, options.stored.overwrite, &mut interrupts) => {
                    outcome.map(|(part, report)| Written::File(part, report))
                }
                never = drawing => never,
            }
        }
        Target::Object(address) => {
            let mut draw = |_| bar::show(&bar, &progress);
            let stored = to_bucket(&engine, address, &options.stored, aws, &mut interrupts, &mut draw).await;
            stored.map(|stored| Written::Object(Place::of_object(address, stored.object.clone()), stored))
        }
    };
    bar.finish_and_clear();
    let (place, bytes, crc64nvme, report) = outcome?.kept()?;
    let Contents::PostgresCustom { database, server_version, pg_dump_version, .. } = report.contents else {
        return Err(Failure::new("the dump is of another kind than was asked for; please report this"));
    };
    let DumpAdvance { tables, rows, .. } = progress.advance();
    let milliseconds = u64::try_from((clock::now() - began).num_milliseconds()).unwrap_or(0);
    let report = Report {
        place,
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

/// Dumps into an object. Nothing of it is there after a failure, or when somebody interrupts.
async fn to_bucket(
    engine: &PostgresEngine,
    address: &Address,
    stored: &arguments::Stored,
    aws: &arguments::Connection,
    interrupts: &mut Interrupts,
    draw: &mut (dyn FnMut(Advance) + Send),
) -> Result<Stored, Failure> {
    let prepared = async {
        let store = Buckets::reach(aws).await?.store(&address.bucket, stored).await?;
        upload::check(&store, address, stored.overwrite).await?;
        engine.prepare().await.map_err(|error| failed(&error))?;
        Ok::<_, Failure>(store)
    };
    let store = tokio::select! {
        store = prepared => store?,
        () = interrupts.come() => return Err(interrupted()),
    };
    match upload::store(engine, &store, address, interrupts, draw).await {
        Ok(stored) => Ok(stored),
        Err(SliceError::Cancelled) => Err(interrupted()),
        Err(error) => {
            let of_storage = upload::failed(&error, &store, address, stored.overwrite).await;
            Err(of_storage.unwrap_or_else(|| failed(&error)))
        }
    }
}

fn interrupted() -> Failure {
    Failure::interrupted("interrupted; nothing is left of the dump")
}

fn print(report: &Report, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(report);
    }
    terminal.line(&format!(
        "{}: {} of {} (PostgreSQL {}), {} rows in {} tables, in {}.{:01} s; CRC64NVME {}",
        plain(&report.place.to_string()),
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
