//! Things as they are in most tests.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::Zurich;
use holdfast_backup::{
    explain::Pricing,
    ports::{ApplicationRecord, Claim, IdempotencyKey, NewBackup, PlanRecord},
};
use holdfast_domain::{
    application::{ApplicationSpec, Login, PostgresService, Service, StorageService, Tls},
    audit::{Action, AuditEntry},
    backup::{Artifact, Backup, Contents, Encryption, Label, State, StoredObject},
    cost::{Architecture, Prices},
    id::{ApplicationId, AuditId, BackupId, PlanId, RestoreId, ServiceName},
    plan::PlanSpec,
    region::Region,
    restore::{Mapping, Origin, Restore, RestoreOptions},
    schedule::Slot,
};

use crate::fakes::KEY_ARN;

/// The moment at which tests begin: 2026-04-01 12:00 UTC, a Wednesday.
pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 4, 1, 12, 0, 0).unwrap()
}

/// The region of tests.
pub fn region() -> Region {
    Region::new("eu-central-1")
}

/// An application's slug.
pub fn slug(text: &str) -> ApplicationId {
    text.parse().unwrap()
}

/// A service's name.
pub fn service_name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// An application with the database `DEFAULT` and the storage `MEDIA`, on the default plan, in Zurich.
pub fn application_spec(id: &str) -> ApplicationSpec {
    ApplicationSpec {
        plan: PlanId::default_plan(),
        time_zone: Zurich,
        services: vec![
            Service::Postgres(PostgresService {
                name: service_name("DEFAULT"),
                host: "db.internal".to_owned(),
                port: 5432,
                database: id.to_owned(),
                secret_arn: format!(
                    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{id}/database-AbCdEf"
                ),
                restore_secret_arn: None,
                isolated: None,
                login: Login::Password,
                tls: Tls::default(),
            }),
            Service::Storage(StorageService {
                name: service_name("MEDIA"),
                bucket: format!("{id}-media"),
                prefix: "media/".to_owned(),
            }),
        ],
        restore_into: vec![],
    }
}

/// The record of [`application_spec`], registered at [`now`] and due a day later.
pub fn application(id: &str) -> ApplicationRecord {
    ApplicationRecord {
        id: slug(id),
        spec: application_spec(id),
        created_at: now(),
        updated_at: now(),
        next_run_at: Some(now() + TimeDelta::days(1)),
        scheduled_until: now(),
        scheduled_since: None,
        overdue_since: None,
    }
}

/// The record of a plan that is like the default one.
pub fn plan(id: &str) -> PlanRecord {
    PlanRecord { id: id.parse().unwrap(), spec: PlanSpec::default_plan(), updated_at: now() }
}

/// A queued backup on demand, of all services of [`application_spec`].
pub fn queued(application: &ApplicationId, id: BackupId, at: DateTime<Utc>) -> Backup {
    let services = vec![service_name("DEFAULT"), service_name("MEDIA")];
    Backup::queued(id, application.clone(), services, "arn:aws:iam::123456789012:user/anna".to_owned(), at)
}

/// A queued backup that was due at `at`.
pub fn queued_for_slot(application: &ApplicationId, id: BackupId, at: DateTime<Utc>) -> Backup {
    let slot = Slot { at, local_date: at.with_timezone(&Zurich).date_naive() };
    let mut backup = queued(application, id, at).scheduled(&slot);
    "schedule".clone_into(&mut backup.requested_by);
    backup
}

/// A backup that succeeded within a minute, with an artifact for each service; a scheduled one is a daily.
pub fn succeeded(application: &ApplicationId, id: BackupId, at: DateTime<Utc>, scheduled: bool) -> Backup {
    let mut backup =
        if scheduled { queued_for_slot(application, id, at) } else { queued(application, id, at) };
    backup.state = State::Succeeded;
    backup.label = scheduled.then_some(Label::Daily);
    backup.started_at = Some(at + TimeDelta::seconds(1));
    backup.taken_at = Some(at + TimeDelta::seconds(2));
    backup.finished_at = Some(at + TimeDelta::seconds(60));
    backup.artifacts = vec![database_artifact(&backup), media_artifact(&backup)];
    backup
}

/// A queued restore of both services of [`application_spec`] into the application that the backup is of.
pub fn queued_restore(
    application: &ApplicationId,
    id: RestoreId,
    backup: BackupId,
    at: DateTime<Utc>,
) -> Restore {
    let origin = Origin { application: application.clone(), backup };
    let services = vec![mapping("DEFAULT", "DEFAULT"), mapping("MEDIA", "MEDIA")];
    let asked_by = "arn:aws:iam::123456789012:user/anna".to_owned();
    Restore::queued(id, application.clone(), origin, services, RestoreOptions::default(), asked_by, at)
}

/// A restore that was asked for with these options when tests begin.
pub fn restore_with(options: &RestoreOptions) -> Restore {
    let (restore, backup) = (RestoreId::new(now(), [1; 10]), BackupId::new(now(), [2; 10]));
    Restore { options: options.clone(), ..queued_restore(&slug("shop"), restore, backup, now()) }
}

/// All of the service `from` of a backup goes into the service `to`.
pub fn mapping(from: &str, to: &str) -> Mapping {
    Mapping { from: service_name(from), to: service_name(to), tables: Vec::new(), files: Vec::new() }
}

/// What [`queued`] backups claim, with or without a key.
pub fn request(backup: Backup, audit: AuditId, key: Option<&str>) -> NewBackup {
    let idempotency =
        key.map(|key| IdempotencyKey { key: key.to_owned(), fingerprint: format!("fingerprint of {key}") });
    let source = application(backup.application.as_str()).spec;
    NewBackup { audit: audit_entry(audit, &backup), backup, source, claim: Claim::Request { idempotency } }
}

/// What [`queued_for_slot`] backups claim; `application` has moved on from version `expected`.
pub fn claim_slot(
    backup: Backup,
    audit: AuditId,
    application: ApplicationRecord,
    expected: u64,
) -> NewBackup {
    let source = application.spec.clone();
    let claim = Claim::Slot { application: Box::new(application), expected };
    NewBackup { audit: audit_entry(audit, &backup), backup, source, claim }
}

/// The entry that says who asked for a backup.
pub fn audit_entry(id: AuditId, backup: &Backup) -> AuditEntry {
    AuditEntry {
        id,
        at: backup.created_at,
        actor: backup.requested_by.clone(),
        action: Action::Request,
        backup: Some(backup.id),
        restore: None,
        from: None,
        to: Some("queued".to_owned()),
        reason: None,
    }
}

fn database_artifact(backup: &Backup) -> Artifact {
    let contents = Contents::PostgresCustom {
        database: "shop".to_owned(),
        server_version: "17.6".to_owned(),
        pg_dump_version: "pg_dump (PostgreSQL) 17.6".to_owned(),
        tables: Some(2),
        rows: Some(7),
    };
    artifact(backup, "DEFAULT", contents)
}

fn media_artifact(backup: &Backup) -> Artifact {
    let contents = Contents::MediaTar {
        bucket: "shop-media".to_owned(),
        prefix: "media/".to_owned(),
        files: 2,
        bytes: 2048,
        skipped: Vec::new(),
        skipped_count: 0,
    };
    artifact(backup, "MEDIA", contents)
}

fn artifact(backup: &Backup, service: &str, contents: Contents) -> Artifact {
    Artifact {
        service: service_name(service),
        object: StoredObject {
            key: format!("{}{service}/{}", backup.prefix(), contents.file_name()),
            size: 4096,
            crc64nvme: "rosUhgp5mIg=".to_owned(),
            etag: "\"00000000000000000000000000000000-1\"".to_owned(),
            version_id: Some("version".to_owned()),
            storage_class: "STANDARD_IA".to_owned(),
            encryption: Encryption {
                algorithm: "aws:kms".to_owned(),
                key_arn: KEY_ARN.to_owned(),
                bucket_key: true,
            },
        },
        contents,
        taken_at: backup.created_at + TimeDelta::seconds(2),
        milliseconds: 58_000,
    }
}

/// What costs are asked for: the bundled prices of [`region`].
pub fn pricing() -> Pricing {
    Pricing { prices: Ok(Prices::bundled()), region: region(), architecture: Architecture::default() }
}
