//! Whether a backup was looked at again since it was made, and what was found.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Failure;
use crate::id::{RestoreId, ServiceName};

/// The last look at all of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// What came of it.
    pub state: VerificationState,
    /// How far it goes.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 1, maximum = 3, example = 1)]
    pub level: VerificationLevel,
    /// Who asked for it: an identity's ARN, or `schedule`.
    pub by: String,
    /// When that was.
    pub at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What was found to be good so far.
    pub artifacts: Vec<VerifiedArtifact>,
    /// Where the next slice goes on within the artifact that is being read; for the reader to understand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The restore that it is tried with, of one of level 2 or 3, once everything was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
    /// What was found to be wrong, or why it could not be looked at.
    pub failure: Option<Failure>,
    /// The level of an earlier look that found something to be wrong. Only one that passes, of that level at least, takes that back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 3)]
    pub damaged_before: Option<VerificationLevel>,
}

impl Verification {
    /// The level at which something was found to be wrong, by this look or by an earlier one, if nothing has taken that back.
    pub fn damaged_at(&self) -> Option<VerificationLevel> {
        let before = self
            .damaged_before
            .filter(|before| self.state != VerificationState::Passed || self.level < *before);
        let now = (self.state == VerificationState::Damaged).then_some(self.level);
        before.max(now)
    }
}

/// How far a verification goes; a number in documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum VerificationLevel {
    /// 1: every byte is read again.
    #[default]
    Read,
    /// 2: besides, everything is restored beside the services, compared, and removed again.
    Restore,
    /// 3: besides, the values in the tables that were restored are compared with those of the archive.
    Checksums,
}

/// That a level is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no level of verification: use 1 to have every byte read, 2 to have it restored as well, or 3 to have its values compared too"
)]
pub struct NoLevel(u8);

impl TryFrom<u8> for VerificationLevel {
    type Error = NoLevel;

    fn try_from(level: u8) -> Result<Self, NoLevel> {
        match level {
            1 => Ok(Self::Read),
            2 => Ok(Self::Restore),
            3 => Ok(Self::Checksums),
            other => Err(NoLevel(other)),
        }
    }
}

impl From<VerificationLevel> for u8 {
    fn from(level: VerificationLevel) -> Self {
        match level {
            VerificationLevel::Read => 1,
            VerificationLevel::Restore => 2,
            VerificationLevel::Checksums => 3,
        }
    }
}

/// A restore beside the services, which changes nothing of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rehearsal {
    /// The restore.
    pub restore: RestoreId,
    /// How long it took, from its first slice to its end, in seconds; once it has ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// What came of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationState {
    /// It is under way.
    Running,
    /// Every byte is what it should be; and what was restored, if it was.
    Passed,
    /// Something is not what it should be: the backup cannot be relied on.
    Damaged,
    /// It could not be looked at everything, or not restored; this says nothing about the backup.
    Failed,
}

impl VerificationState {
    /// The state as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
        }
    }
}

/// An artifact that was read from its first byte to its last, and is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedArtifact {
    /// The service it is of.
    pub service: ServiceName,
    /// How many bytes were read.
    pub bytes: u64,
    /// Of a `PostgreSQL` dump: tables whose rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Of a `PostgreSQL` dump: rows, as many as were counted when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of a media archive: files, each with the checksum that its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// What was restored of it and compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Rehearsed>,
}

/// What was there when an artifact was restored, as much as there should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rehearsed {
    /// Of a database: tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Of a database: rows in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of a database, on level 3: tables whose values were compared, and are those of the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_compared: Option<u64>,
    /// Of a media archive: files and folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_number() {
        let level = |text: &str| serde_json::from_str::<VerificationLevel>(text);
        assert_eq!(level("1").unwrap(), VerificationLevel::Read);
        assert_eq!(level("2").unwrap(), VerificationLevel::Restore);
        assert_eq!(level("3").unwrap(), VerificationLevel::Checksums);
        for none in ["0", "4", "-1", "256", "\"2\"", "null"] {
            assert!(level(none).is_err(), "{none}");
        }
        assert_eq!(serde_json::to_string(&VerificationLevel::Restore).unwrap(), "2");
        assert!(VerificationLevel::Read < VerificationLevel::Restore);
        assert!(VerificationLevel::Restore < VerificationLevel::Checksums);
    }

    #[test]
    fn damage_is_taken_back_only_by_a_look_that_passes_and_goes_as_far() {
        use VerificationLevel::{Checksums, Read, Restore};
        use VerificationState::{Damaged, Failed, Passed, Running};

        let look = |state, level, damaged_before| Verification {
            state,
            level,
            by: "anna".to_owned(),
            at: DateTime::UNIX_EPOCH,
            finished_at: None,
            artifacts: Vec::new(),
            cursor: None,
            rehearsal: None,
            failure: None,
            damaged_before,
        };
        for (state, level, before, expected) in [
            (Damaged, Read, None, Some(Read)),
            (Damaged, Restore, Some(Read), Some(Restore)),
            (Damaged, Read, Some(Checksums), Some(Checksums)),
            (Running, Checksums, Some(Read), Some(Read)),
            (Failed, Checksums, Some(Read), Some(Read)),
            (Passed, Read, Some(Restore), Some(Restore)),
            (Passed, Restore, Some(Restore), None),
            (Passed, Checksums, Some(Read), None),
            (Failed, Read, None, None),
        ] {
            assert_eq!(look(state, level, before).damaged_at(), expected, "{state:?} {level:?} {before:?}");
        }
    }
}
