use std::fmt;

use holdfast_domain::id::{ApplicationId, BackupId, PlanId};
use serde::Serialize;

/// One thing that the bucket and the records do not agree about, or that is wrong in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The plan it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanId>,
    /// The application it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationId>,
    /// The backup it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupId>,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum What {
    /// The bucket has it, the records do not. A rebuild makes the record.
    NoRecord,
    /// The record says that it succeeded, and the bucket has no description of it.
    NotInBucket,
    /// Both have it, and say different things.
    Differs {
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The bucket describes a backup that the records have let go.
    NotLetGo {
        /// The state on the record.
        state: &'static str,
    },
    /// An object of a backup is not there, or not as it was stored.
    NotAsStored {
        /// Its key.
        key: String,
    },
    /// Objects that belong to no backup: there is no `backup.json` among them, and no job works on them.
    Leftover {
        /// What all their keys begin with.
        prefix: String,
        /// How many there are.
        objects: usize,
    },
    /// A document of the bucket cannot be read.
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// Something that Holdfast does not put there.
    Foreign {
        /// Its key, or what its keys begin with.
        key: String,
    },
    /// It is registered with a plan of which neither side knows what it says.
    PlanUnknown,
}

impl Difference {
    pub(super) fn plan(plan: &PlanId, what: What) -> Self {
        Self { plan: Some(plan.clone()), application: None, backup: None, what }
    }

    pub(super) fn application(application: &ApplicationId, what: What) -> Self {
        Self { plan: None, application: Some(application.clone()), backup: None, what }
    }

    pub(super) fn backup(application: &ApplicationId, backup: BackupId, what: What) -> Self {
        Self { backup: Some(backup), ..Self::application(application, what) }
    }

    pub(super) fn bucket(what: What) -> Self {
        Self { plan: None, application: None, backup: None, what }
    }

    /// Whether a rebuild takes care of it.
    pub fn is_mended_by_rebuild(&self) -> bool {
        self.what == What::NoRecord
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.plan, &self.application, self.backup) {
            (_, Some(application), Some(backup)) => write!(f, "{application} {backup}: ")?,
            (_, Some(application), None) => write!(f, "{application}: ")?,
            (Some(plan), None, _) => write!(f, "plan {plan}: ")?,
            (None, None, _) => {}
        }
        self.what.fmt(f)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => {
                f.write_str("in the bucket, and not in the records; a rebuild makes the record")
            }
            Self::NotInBucket => {
                f.write_str("succeeded by its record, and not in the bucket: it cannot be restored")
            }
            Self::Differs { fields } => {
                write!(f, "the bucket and the record say different things of: {}", fields.join(", "))
            }
            Self::NotLetGo { state } => {
                write!(f, "{state} by its record, and the bucket still describes it as a backup")
            }
            Self::NotAsStored { key } => write!(f, "{key} is not there as it was stored"),
            Self::Leftover { prefix, objects } => {
                let number = if *objects == 1 { "object" } else { "objects" };
                write!(f, "{objects} {number} below {prefix} without a backup.json, which is no backup")
            }
            Self::Unreadable { key, why } => write!(f, "{key} cannot be read: {why}"),
            Self::Foreign { key } => write!(f, "{key} is nothing that Holdfast puts there"),
            Self::PlanUnknown => f.write_str("nothing is known of the plan it is registered with"),
        }
    }
}
