//! What the bucket says about itself.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use holdfast_domain::{
    application::ApplicationSpec,
    backup::{Backup, State, prefix},
    document::{self, BackupDocument},
    id::{ApplicationId, BackupId, PlanId},
    mark::{self, Mark, Registration},
    plan::PlanSpec,
};

use super::difference::{Difference, What};
use crate::ports::{CatalogBucket, StorageError};

/// How many backups are looked at at a time.
const SIDE_BY_SIDE: usize = 16;

/// What the keys of all backups begin with.
const APPLICATIONS: &str = "applications/";

/// What the bucket says: plans, registrations, and backups as they were described and marked since.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// What plans say, by their marks.
    pub plans: BTreeMap<PlanId, PlanSpec>,
    /// What there is of each application.
    pub applications: BTreeMap<ApplicationId, Shelved>,
    /// What is wrong with what was read.
    pub troubles: Vec<Difference>,
}

/// What there is of one application.
#[derive(Debug, Clone, Default)]
pub struct Shelved {
    /// What its mark says of its registration.
    pub registration: Registered,
    /// Its backups that are described.
    pub backups: BTreeMap<BackupId, Described>,
    /// How many objects there are of each backup that is not described.
    pub leftovers: BTreeMap<BackupId, usize>,
}

/// What the mark of a registration says.
#[derive(Debug, Clone, Default)]
pub enum Registered {
    /// There is none.
    #[default]
    Unmarked,
    /// It cannot be read.
    Unreadable,
    /// The application was removed.
    Removed,
    /// It is registered so.
    As(Box<Registration>),
}

/// A backup that the bucket describes.
#[derive(Debug, Clone)]
pub struct Described {
    /// The backup as its document and its marks have it.
    pub backup: Backup,
    /// The registration it was made under.
    pub application: ApplicationSpec,
    /// The plan at the time.
    pub plan: PlanSpec,
    /// Whether every artifact is there as it was stored.
    pub complete: bool,
    /// Names of marks that cannot be read.
    pub doubts: Vec<&'static str>,
}

impl Shelf {
    /// Reads the bucket; of `only` one application, and of all plans. What cannot be understood is among the troubles.
    pub async fn read(
        bucket: &dyn CatalogBucket,
        only: Option<&ApplicationId>,
    ) -> Result<Self, StorageError> {
        let mut shelf = Self::default();
        shelf.read_plans(bucket).await?;
        shelf.read_registrations(bucket, only).await?;
        for child in bucket.children(APPLICATIONS).await? {
            let Some(application) = slug::<ApplicationId>(&child, APPLICATIONS, "/") else {
                shelf.troubles.push(Difference::bucket(What::Foreign { key: child }));
                continue;
            };
            if only.is_none_or(|only| *only == application) {
                shelf.read_backups(bucket, &application).await?;
            }
        }
        Ok(shelf)
    }

    async fn read_plans(&mut self, bucket: &dyn CatalogBucket) -> Result<(), StorageError> {
        for key in bucket.children(mark::PLANS).await? {
            let Some(plan) = slug::<PlanId>(&key, mark::PLANS, ".json") else {
                self.troubles.push(Difference::bucket(What::Foreign { key }));
                continue;
            };
            match read_mark(bucket, &key).await? {
                Read::As(Mark::Plan(spec)) => {
                    self.plans.insert(plan, spec);
                }
                Read::Absent => {}
                other => self.troubles.push(Difference::plan(&plan, other.trouble(key))),
            }
        }
        Ok(())
    }

    async fn read_registrations(
        &mut self,
        bucket: &dyn CatalogBucket,
        only: Option<&ApplicationId>,
    ) -> Result<(), StorageError> {
        for key in bucket.children(mark::REGISTRATIONS).await? {
            let Some(application) = slug::<ApplicationId>(&key, mark::REGISTRATIONS, ".json") else {
                self.troubles.push(Difference::bucket(What::Foreign { key }));
                continue;
            };
            if only.is_some_and(|only| *only != application) {
                continue;
            }
            let registration = match read_mark(bucket, &key).await? {
                Read::As(Mark::Registration(Some(registration))) => Registered::As(Box::new(registration)),
                Read::As(Mark::Registration(None)) => Registered::Removed,
                Read::Absent => continue,
                other => {
                    self.troubles.push(Difference::application(&application, other.trouble(key)));
                    Registered::Unreadable
                }
            };
            self.applications.entry(application).or_default().registration = registration;
        }
        Ok(())
    }

    async fn read_backups(
        &mut self,
        bucket: &dyn CatalogBucket,
        application: &ApplicationId,
    ) -> Result<(), StorageError> {
        let below = format!("{APPLICATIONS}{application}/");
        let mut ids = Vec::new();
        for child in bucket.children(&below).await? {
            if let Some(id) =
                slug::<BackupId>(&child, &below, "/").filter(|id| prefix(application, *id) == child)
            {
                ids.push(id);
            } else {
                self.troubles.push(Difference::application(application, What::Foreign { key: child }));
            }
        }
        ids.sort_unstable();
        let found = stream::iter(ids).map(|id| read_backup(bucket, application, id));
        let found: Vec<Found> = found.buffered(SIDE_BY_SIDE).try_collect().await?;
        let shelved = self.applications.entry(application.clone()).or_default();
        for Found { id, described, objects, troubles } in found {
            let troubles = troubles.into_iter().map(|what| Difference::backup(application, id, what));
            self.troubles.extend(troubles);
            match described {
                Some(described) => {
                    shelved.backups.insert(id, described);
                }
                None if objects > 0 => {
                    shelved.leftovers.insert(id, objects);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// What `plan` says: by its mark, or else by the newest backup that was made under it.
    pub(super) fn plan(&self, plan: &PlanId) -> Option<&PlanSpec> {
        let backups = self.applications.values().flat_map(|shelved| shelved.backups.values());
        let under = backups.filter(|described| described.application.plan == *plan);
        let newest = || under.max_by_key(|described| described.backup.id);
        self.plans.get(plan).or_else(|| newest().map(|newest| &newest.plan))
    }
}

/// What was found below the prefix of a backup.
struct Found {
    id: BackupId,
    described: Option<Described>,
    /// How many objects are there without a description.
    objects: usize,
    troubles: Vec<What>,
}

async fn read_backup(
    bucket: &dyn CatalogBucket,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Found, StorageError> {
    let prefix = prefix(application, id);
    let mut troubles = Vec::new();
    let key = format!("{prefix}{}", document::FILE_NAME);
    let document = match get(bucket, &key).await? {
        Read::Absent => {
            let objects = bucket.keys(&prefix).await?.len();
            return Ok(Found { id, described: None, objects, troubles });
        }
        Read::Not(why) => Err(why),
        Read::As(bytes) => understand(&bytes, application, id),
    };
    let BackupDocument { mut backup, application, plan, .. } = match document {
        Ok(document) => document,
        Err(why) => {
            troubles.push(What::Unreadable { key, why });
            return Ok(Found { id, described: None, objects: 0, troubles });
        }
    };
    let mut doubts = Vec::new();
    for name in mark::OF_A_BACKUP {
        let key = format!("{prefix}{name}");
        match read_mark(bucket, &key).await? {
            Read::Absent => {}
            Read::As(mark) if is_named(name, &mark) => mark.apply(&mut backup),
            other => {
                troubles.push(other.trouble(key));
                doubts.push(name);
            }
        }
    }
    let mut complete = true;
    for artifact in &backup.artifacts {
        let key = &artifact.object.key;
        let found = match bucket.describe(key).await {
            Ok(found) => found,
            Err(error @ StorageError::Unavailable(_)) => return Err(error),
            Err(_) => None,
        };
        if !key.starts_with(&prefix) || found.as_ref() != Some(&artifact.object) {
            troubles.push(What::NotAsStored { key: key.clone() });
            complete = false;
        }
    }
    Ok(Found {
        id,
        described: Some(Described { backup, application, plan, complete, doubts }),
        objects: 0,
        troubles,
    })
}

fn understand(bytes: &[u8], application: &ApplicationId, id: BackupId) -> Result<BackupDocument, String> {
    let document = BackupDocument::from_json(bytes).map_err(|error| error.to_string())?;
    let backup = &document.backup;
    if (&backup.application, backup.id) != (application, id) {
        return Err(format!("it describes the backup {} of {}", backup.id, backup.application));
    }
    if backup.state != State::Succeeded {
        return Err(format!("it describes a backup that is {}", backup.state.as_str()));
    }
    Ok(document)
}

fn is_named(name: &str, mark: &Mark) -> bool {
    match mark {
        Mark::Hold(_) => name == mark::HOLD,
        Mark::Label(_) => name == mark::LABEL,
        Mark::Verification(_) => name == mark::VERIFICATION,
        Mark::Registration(_) | Mark::Plan(_) => false,
    }
}

/// What became of reading a document.
enum Read<T> {
    Absent,
    /// It cannot be read, for this reason.
    Not(String),
    As(T),
}

impl Read<Mark> {
    /// What is wrong with a mark that is there and not what it should be.
    fn trouble(self, key: String) -> What {
        let why = match self {
            Self::Not(why) => why,
            Self::Absent | Self::As(_) => "it is the mark of something else".to_owned(),
        };
        What::Unreadable { key, why }
    }
}

async fn read_mark(bucket: &dyn CatalogBucket, key: &str) -> Result<Read<Mark>, StorageError> {
    Ok(match get(bucket, key).await? {
        Read::Absent => Read::Absent,
        Read::Not(why) => Read::Not(why),
        Read::As(bytes) => match Mark::from_json(&bytes) {
            Ok(mark) => Read::As(mark),
            Err(error) => Read::Not(error.to_string()),
        },
    })
}

/// The bytes of a small object. One that may not be read is one that cannot be read; a bucket that does not answer is an error.
async fn get(bucket: &dyn CatalogBucket, key: &str) -> Result<Read<bytes::Bytes>, StorageError> {
    match bucket.get(key).await {
        Ok(Some(bytes)) => Ok(Read::As(bytes)),
        Ok(None) => Ok(Read::Absent),
        Err(error @ (StorageError::Unavailable(_) | StorageError::NotFound(_))) => Err(error),
        Err(error) => Ok(Read::Not(error.to_string())),
    }
}

/// What stands between `before` and `after` in `key`, if it is a good name.
fn slug<T: std::str::FromStr>(key: &str, before: &str, after: &str) -> Option<T> {
    key.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}
