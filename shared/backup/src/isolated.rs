//! Reading a database from a copy: RDS snapshots what it runs on, restores the snapshot as a temporary instance, and the
//! dump is made of that. Afterwards both are deleted.
//!
//! One step a call: what is there is found by its name, which follows from the backup and the service, and the next thing is
//! asked for. The state machine waits between the calls, so that nothing is lost when one of them dies. What is made carries
//! tags, by which the nightly run finds whatever was left all the same: see [`leftovers`].

mod class;
pub(crate) mod leftovers;
mod status;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    application::{Isolated, Service},
    backup::Backup,
    id::ServiceName,
};

use crate::{
    error::SliceError,
    job::Answer,
    ports::{Endpoint, InstancesError, Isolation, Kind, NewCopy, Ports, Source, Tags},
    service::check_wanted,
};
use status::Status;

/// How long a copy may take to be there. The first snapshot of a large instance takes hours.
const PATIENCE: TimeDelta = TimeDelta::hours(12);

/// Seconds between two calls: a tenth of the time it has taken so far, within these bounds. A history of an execution of the
/// state machine holds 25,000 events, which [`PATIENCE`] stays below so, on four branches.
const PAUSES: (i64, i64) = (15, 120);

/// What the names of temporary things begin with. `template.yaml` allows no others to be made or deleted.
pub const PREFIX: &str = "holdfast-";

/// Where temporary copies are put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The DB subnet group; that of what is copied without one.
    pub subnet_group: Option<String>,
    /// The security groups; those of what is copied without any.
    pub security_groups: Vec<String>,
    /// The class of the instance; the smallest that can be ordered without one.
    pub class: Option<String>,
}

/// Where a copy stands.
pub(crate) enum Step {
    /// It is there, and as the source was at that moment.
    Ready {
        /// Where it answers.
        endpoint: Endpoint,
        /// The moment of the snapshot.
        taken_at: DateTime<Utc>,
    },
    /// RDS is at work.
    Waiting,
}

/// A copy that a slice brings one step further.
pub(crate) struct Copy<'a> {
    pub(crate) ports: &'a Ports,
    pub(crate) placement: &'a Placement,
    pub(crate) backup: &'a Backup,
    pub(crate) service: &'a Service,
    pub(crate) of: &'a Isolated,
    /// What is written down of it.
    pub(crate) isolation: Isolation,
}

/// The copy of a service that nothing has been asked for yet.
pub(crate) fn begun(backup: &Backup, service: &ServiceName, of: &Isolated, now: DateTime<Utc>) -> Isolation {
    // By its place and not by its name: identifiers of RDS have no letter case and no underscores.
    let place = backup.services.iter().position(|covered| covered == service).unwrap_or_default();
    Isolation {
        name: format!("{PREFIX}{}-{place}", backup.id),
        is_cluster: matches!(of, Isolated::Cluster(_)),
        began_at: now,
        asked_at: None,
        stored: None,
    }
}

/// Seconds to wait until the next look at something that was begun at `began_at`.
pub(crate) fn pause(began_at: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    let seconds = ((now - began_at).num_seconds() / 10).clamp(PAUSES.0, PAUSES.1);
    u32::try_from(seconds).unwrap_or_default()
}

impl Copy<'_> {
    /// Looks whether the source can be snapshotted. None if it cannot just now.
    pub(crate) async fn source(&self) -> Result<Option<Source>, SliceError> {
        self.check_patience()?;
        let (of, identifier) = (self.of, self.of.identifier());
        let source = self.ports.instances.source(of).await?.ok_or_else(|| {
            SliceError::permanent(
                "isolated_source_missing",
                format!(
                    "RDS has no {} {identifier:?} in this account and region; register the service with the right identifier",
                    Kind::from(of)
                ),
            )
        })?;
        let fits = match self.service {
            Service::Postgres(_) => ["postgres", "aurora-postgresql"].contains(&source.engine.as_str()),
            Service::Mysql(_) => ["mysql", "mariadb", "aurora-mysql"].contains(&source.engine.as_str()),
            Service::Storage(_) => false,
        };
        if !fits {
            return Err(SliceError::permanent(
                "isolated_wrong_engine",
                format!(
                    "{identifier} runs {} {}, and the service is of kind {}; register it with the identifier of its own server",
                    source.engine,
                    source.version,
                    self.service.kind()
                ),
            ));
        }
        if matches!(of, Isolated::Cluster(_)) && !source.engine.starts_with("aurora-") {
            return Err(SliceError::permanent(
                "isolated_wrong_engine",
                format!(
                    "the cluster {identifier} runs {}, and of clusters only those of Aurora can be copied; register the service \
                     without \"isolated\"",
                    source.engine
                ),
            ));
        }
        if let (Isolated::Instance(_), Some(cluster)) = (of, &source.member_of) {
            return Err(SliceError::permanent(
                "isolated_is_member",
                format!(
                    "{identifier} is part of the cluster {cluster}, and only that can be snapshotted; register the service with \
                     {{\"cluster\": {cluster:?}}}"
                ),
            ));
        }
        if !source.is_encrypted {
            tracing::warn!(service = %self.service.name(), identifier, "its storage is not encrypted, and so is not that of its copy");
        }
        match status::of_source(&source.status) {
            Status::Ready => Ok(Some(source)),
            Status::Working => Ok(None),
            Status::Failed => Err(SliceError::permanent(
                "isolated_source_unfit",
                format!(
                    "{identifier} is {:?}, and cannot be snapshotted; bring it to \"available\", then start a new backup",
                    source.status
                ),
            )),
        }
    }

    /// Asks for the snapshot, or for the next thing after it. The isolation has been written down before.
    pub(crate) async fn step(&self) -> Result<Step, SliceError> {
        self.check_patience()?;
        let (instances, name) = (&self.ports.instances, self.isolation.name.as_str());
        if let Some(found) = instances.find(Kind::Instance, name).await? {
            return match (self.judge(Kind::Instance, &found.status)?, found.endpoint) {
                (Status::Ready, Some(endpoint)) => match self.snapshot_moment().await? {
                    Some(taken_at) => Ok(Step::Ready { endpoint, taken_at }),
                    None => Ok(Step::Waiting),
                },
                _ => Ok(Step::Waiting),
            };
        }
        if self.isolation.is_cluster
            && let Some(found) = instances.find(Kind::Cluster, name).await?
        {
            if self.judge(Kind::Cluster, &found.status)? == Status::Ready {
                let copy = self.planned().await?;
                self.ask(instances.add_instance(&copy)).await?;
            }
            return Ok(Step::Waiting);
        }
        if let Some(found) = instances.find(self.snapshot_kind(), name).await? {
            if self.judge(self.snapshot_kind(), &found.status)? == Status::Ready {
                let copy = self.planned().await?;
                self.ask(instances.restore(&copy)).await?;
            }
            return Ok(Step::Waiting);
        }
        if self.source().await?.is_some() {
            self.ask(instances.snapshot(self.of, name, &self.tags())).await?;
        }
        Ok(Step::Waiting)
    }

    /// Asks RDS for something new, unless the backup is over. An abort that looks in this very moment does not see it: what comes
    /// of it, a snapshot that cannot be deleted before it is whole, is left to the nightly run.
    async fn ask(&self, asking: impl Future<Output = Result<(), InstancesError>>) -> Result<(), SliceError> {
        check_wanted(self.ports, &self.backup.application, self.backup.id).await?;
        match asking.await {
            Err(InstancesError::Busy(reason)) => {
                tracing::info!(service = %self.service.name(), reason, "RDS is asked again later");
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// The copy to make of the snapshot.
    async fn planned(&self) -> Result<NewCopy, SliceError> {
        let Some(source) = self.ports.instances.source(self.of).await? else {
            return Err(SliceError::permanent(
                "isolated_source_missing",
                format!("{} is gone since it was snapshotted; start a new backup", self.of.identifier()),
            ));
        };
        let class = if let Some(class) = &self.placement.class {
            class.clone()
        } else {
            let offered = self.ports.instances.classes(&source).await?;
            class::smallest(&offered).cloned().ok_or_else(|| {
                SliceError::permanent(
                    "isolated_no_class",
                    format!(
                        "RDS offers no class that is known for {} {} with {} GiB; name one by the stack's parameter \
                         IsolatedInstanceClass",
                        source.engine,
                        source.version,
                        source.gibibytes.unwrap_or_default()
                    ),
                )
            })?
        };
        let Placement { subnet_group, security_groups, .. } = self.placement.clone();
        Ok(NewCopy {
            name: self.isolation.name.clone(),
            is_cluster: self.isolation.is_cluster,
            tags: self.tags(),
            class,
            subnet_group: subnet_group.or_else(|| source.subnet_group.clone()),
            security_groups: if security_groups.is_empty() {
                source.security_groups.clone()
            } else {
                security_groups
            },
            source,
        })
    }

    async fn snapshot_moment(&self) -> Result<Option<DateTime<Utc>>, SliceError> {
        let found = self.ports.instances.find(self.snapshot_kind(), &self.isolation.name).await?;
        let found = found.ok_or_else(|| {
            SliceError::permanent(
                "isolated_snapshot_gone",
                format!(
                    "the snapshot {} was deleted by somebody else; start a new backup",
                    self.isolation.name
                ),
            )
        })?;
        Ok(found.taken_at)
    }

    fn judge(&self, kind: Kind, status: &str) -> Result<Status, SliceError> {
        match status::of_copy(status) {
            Status::Failed => Err(SliceError::permanent(
                "isolated_copy_failed",
                format!(
                    "the temporary {kind} {} is {status:?}{}; then start a new backup",
                    self.isolation.name,
                    status::advice(status)
                ),
            )),
            other => Ok(other),
        }
    }

    fn check_patience(&self) -> Result<(), SliceError> {
        let Isolation { name, began_at, .. } = &self.isolation;
        if self.ports.clock.now() - *began_at <= PATIENCE {
            return Ok(());
        }
        Err(SliceError::permanent(
            "isolated_timed_out",
            format!(
                "its copy {name} was not there within {} hours; look in RDS at what {} is doing, then start a new backup",
                PATIENCE.num_hours(),
                self.of.identifier()
            ),
        ))
    }

    /// RDS is at work, to be asked again later.
    pub(crate) fn wait(&self) -> Answer {
        Answer::Wait { seconds: pause(self.isolation.began_at, self.ports.clock.now()) }
    }

    fn tags(&self) -> Tags {
        Tags {
            application: self.backup.application.clone(),
            backup: self.backup.id,
            service: self.service.name().clone(),
        }
    }

    fn snapshot_kind(&self) -> Kind {
        if self.isolation.is_cluster { Kind::ClusterSnapshot } else { Kind::Snapshot }
    }
}

/// Asks for the deletion of a copy and its snapshot. False if RDS has not accepted all of it yet: to be asked again later.
pub(crate) async fn delete(ports: &Ports, isolation: &Isolation) -> Result<bool, SliceError> {
    let kinds: &[Kind] = if isolation.is_cluster {
        &[Kind::Instance, Kind::Cluster, Kind::ClusterSnapshot]
    } else {
        &[Kind::Instance, Kind::Snapshot]
    };
    let mut accepted = true;
    if isolation.asked_at.is_some() {
        for kind in kinds {
            accepted &= delete_one(ports, *kind, &isolation.name).await?;
        }
    }
    Ok(accepted)
}

async fn delete_one(ports: &Ports, kind: Kind, name: &str) -> Result<bool, SliceError> {
    match ports.instances.find(kind, name).await? {
        None => return Ok(true),
        Some(found) if status::is_going(&found.status) => return Ok(true),
        Some(_) => {}
    }
    match ports.instances.delete(kind, name).await {
        Ok(()) => Ok(true),
        Err(InstancesError::Busy(reason)) => {
            tracing::info!(%kind, name, reason, "it cannot be deleted yet");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_domain::id::BackupId;

    use super::*;

    #[test]
    fn names_are_identifiers_of_rds() {
        let id = BackupId::new(DateTime::UNIX_EPOCH, [255; 10]);
        let services = vec!["DEFAULT".parse().unwrap(), "a_B".parse().unwrap()];
        let backup = Backup::queued(
            id,
            "shop".parse().unwrap(),
            services.clone(),
            "anna".to_owned(),
            DateTime::UNIX_EPOCH,
        );
        let of = Isolated::Instance("shop-db".to_owned());
        let names: Vec<String> =
            services.iter().map(|service| begun(&backup, service, &of, DateTime::UNIX_EPOCH).name).collect();
        assert_ne!(names[0], names[1]);
        for name in names {
            assert!(name.len() <= 63 && !name.contains("--") && !name.ends_with('-'), "{name}");
            assert!(name.starts_with("holdfast-") && name.contains(&id.to_string()), "{name}");
        }
    }

    #[test]
    fn waits_grow_with_what_was_waited_for() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let waits = [0, 60, 300, 3_600].map(|seconds| pause(DateTime::UNIX_EPOCH, at(seconds)));
        assert_eq!(waits, [15, 15, 30, 120]);
    }
}
