//! Marks: small documents in the bucket that say what `backup.json` cannot, since it is written once: what became of a backup
//! later, and what is registered now. With them the records can be rebuilt as they were.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    application::ApplicationSpec,
    backup::{Backup, Hold, Label, Verification},
    document::{self, Unreadable},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
};

/// Name of the mark of a hold within a backup's prefix.
pub const HOLD: &str = "hold.json";

/// Name of the mark of a label within a backup's prefix.
pub const LABEL: &str = "label.json";

/// Name of the mark of a verification within a backup's prefix.
pub const VERIFICATION: &str = "verification.json";

/// Names of all marks within a backup's prefix.
pub const OF_A_BACKUP: [&str; 3] = [HOLD, LABEL, VERIFICATION];

/// What the keys of registrations begin with.
pub const REGISTRATIONS: &str = "registrations/";

/// What the keys of plans begin with.
pub const PLANS: &str = "plans/";

/// The value of `format` in every mark.
pub const FORMAT: &str = "holdfast-mark";

/// The version of marks that this code writes; it reads this one only.
pub const VERSION: u32 = 1;

/// What a mark says. There is none of what never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", content = "value", rename_all = "snake_case")]
pub enum Mark {
    /// The hold that is on a backup; none once it was released.
    Hold(Option<Hold>),
    /// The label that a backup was given after its first.
    Label(Relabelled),
    /// What the last look at all of a backup has found.
    Verification(Verification),
    /// How an application is registered now; none once it was removed.
    Registration(Option<Registration>),
    /// What a plan says now.
    Plan(PlanSpec),
}

/// A label, and how the backup came by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relabelled {
    /// The label.
    pub label: Option<Label>,
    /// The reason that stands on the record.
    pub reason: Option<String>,
}

/// A registration, and how long there has been one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// What is registered.
    pub application: ApplicationSpec,
    /// When it first was.
    pub created_at: DateTime<Utc>,
}

/// A mark as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    version: u32,
    #[serde(flatten)]
    mark: Mark,
}

impl Mark {
    /// Puts what the mark says on `backup`; a mark of anything else changes nothing.
    pub fn apply(self, backup: &mut Backup) {
        match self {
            Self::Hold(hold) => backup.hold = hold,
            Self::Label(Relabelled { label, reason }) => {
                (backup.label, backup.retention_reason) = (label, reason);
            }
            Self::Verification(verification) => backup.verification = Some(verification),
            Self::Registration(_) | Self::Plan(_) => {}
        }
    }

    /// The mark as it is stored: indented, since people read it too.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let stored = Stored { format: FORMAT.to_owned(), version: VERSION, mark: self.clone() };
        serde_json::to_vec_pretty(&stored)
    }

    /// Reads a stored mark.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Unreadable> {
        document::check_head(bytes, FORMAT, VERSION)?;
        Ok(serde_json::from_slice::<Stored>(bytes)?.mark)
    }
}

/// The key of the registration of `application`.
pub fn registration_key(application: &ApplicationId) -> String {
    format!("{REGISTRATIONS}{application}.json")
}

/// The key of the plan `plan`.
pub fn plan_key(plan: &PlanId) -> String {
    format!("{PLANS}{plan}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_can_be_said_too() {
        let hold = Hold { by: "anna".to_owned(), at: DateTime::UNIX_EPOCH, reason: "evidence".to_owned() };
        let registration = Registration {
            application: serde_json::from_value(serde_json::json!({ "services": [] }))
                .expect("a registration"),
            created_at: DateTime::UNIX_EPOCH,
        };
        let marks = [
            Mark::Hold(Some(hold)),
            Mark::Hold(None),
            Mark::Label(Relabelled { label: Some(Label::Weekly), reason: None }),
            Mark::Registration(None),
            Mark::Registration(Some(registration)),
            Mark::Plan(PlanSpec::default_plan()),
        ];
        for mark in marks {
            assert_eq!(Mark::from_json(&mark.to_json().expect("JSON")).expect("a mark"), mark);
        }
    }

    #[test]
    fn what_is_no_mark_is_told_by_what_it_is() {
        assert!(matches!(Mark::from_json(b"{}"), Err(Unreadable::Malformed(_))));
        let newer = br#"{"format":"holdfast-mark","version":2,"mark":"hold","value":null}"#;
        let error = Mark::from_json(newer).expect_err("a version that nobody knows");
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}
