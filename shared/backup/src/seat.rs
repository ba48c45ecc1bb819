//! A seat at a database server, which a slice has while it dumps one of its databases: no more of them are dumped at a time than the
//! server can bear.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_domain::{
    application::{MysqlService, PostgresService, Service},
    backup::Backup,
    seats::{Seat, Seats},
};

use crate::{
    error::SliceError,
    ports::{Ports, RecordsError, Versioned},
};

/// How long a seat is lent: no invocation lasts longer. Whoever dies with one loses it then, or when it is tried again, or given up.
const LENT: TimeDelta = TimeDelta::minutes(16);

/// How often a record that others write too is tried to be written.
const ATTEMPTS: u32 = 10;

/// After how many seconds whoever gets no seat asks again: a tenth of those that have passed, within these bounds, since an execution
/// remembers only so many steps; and up to `SPREAD` more, so that those who wait do not come together.
const ASK_AGAIN: (i64, i64) = (20, 120);
const SPREAD: u32 = 20;

/// The database server of a service, by which its seats are known: `host:port`. None of a storage, nor of a database that is read from
/// a copy.
pub(crate) fn server(service: &Service) -> Option<String> {
    match service {
        _ if service.isolated().is_some() => None,
        Service::Postgres(PostgresService { host, port, .. })
        | Service::Mysql(MysqlService { host, port, .. }) => {
            Some(format!("{}:{port}", host.to_ascii_lowercase()))
        }
        Service::Storage(_) => None,
    }
}

/// Takes one of `limit` seats; without one, after how many seconds to ask again.
pub(crate) async fn take(
    ports: &Ports,
    server: &str,
    limit: usize,
    backup: &Backup,
    service: &Service,
) -> Result<Option<u32>, SliceError> {
    let taken = change(ports, server, |seats| {
        let now = ports.clock.now();
        let seat = Seat { backup: backup.id, service: service.name().clone(), until: now + LENT };
        seats.take(seat, limit, now)
    });
    if taken.await? {
        return Ok(None);
    }
    tracing::info!(application = %backup.application, backup = %backup.id, %server, "waits for others to be dumped");
    let now = ports.clock.now();
    let passed = (now - backup.started_at.unwrap_or(backup.created_at)).num_seconds();
    let seconds = u32::try_from((passed / 10).clamp(ASK_AGAIN.0, ASK_AGAIN.1)).unwrap_or_default();
    Ok(Some(seconds + now.timestamp_subsec_millis() % SPREAD))
}

/// Gives a seat back, if there is one.
pub(crate) async fn leave(
    ports: &Ports,
    server: &str,
    backup: &Backup,
    service: &Service,
) -> Result<(), SliceError> {
    change(ports, server, |seats| seats.leave(backup.id, service.name())).await.map(drop)
}

/// Gives back every seat of a backup that has come to its end: somebody who had one may have been killed.
pub(crate) async fn leave_all(
    ports: &Ports,
    backup: &Backup,
    services: &[Service],
) -> Result<(), SliceError> {
    for service in services.iter().filter(|service| backup.services.contains(service.name())) {
        if let Some(server) = server(service) {
            leave(ports, &server, backup, service).await?;
        }
    }
    Ok(())
}

/// Writes down what `change` makes of the seats, if it says that it changed something; says so too.
async fn change(
    ports: &Ports,
    server: &str,
    change: impl Fn(&mut Seats) -> bool + Send + Sync,
) -> Result<bool, SliceError> {
    for attempt in 0..ATTEMPTS {
        let found = ports.records.seats(server).await?;
        let expected = found.as_ref().map(|found| found.version);
        let mut seats = found.map(|Versioned { value, .. }| value).unwrap_or_default();
        if !change(&mut seats) {
            return Ok(false);
        }
        match ports.records.put_seats(server, &seats, expected).await {
            Ok(_) => return Ok(true),
            Err(RecordsError::Conflict) => {
                let jitter = u64::from(ports.clock.now().timestamp_subsec_millis() % 20);
                tokio::time::sleep(Duration::from_millis((10 + jitter) * u64::from(attempt + 1))).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(SliceError::transient(
        "record_contended",
        format!("too many want to dump databases of {server} at the same moment"),
    ))
}
