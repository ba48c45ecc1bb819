//! What a restore that did not come to its end has left, in words.

use holdfast_domain::{
    backup::Failure,
    id::ServiceName,
    restore::{Restore, RestoreRun},
};

/// The code of a failure after which it is not known whether a killed slice had come to its end.
pub(super) const INTERRUPTED: &str = "restore_interrupted";

/// The code of a failure of a restorer that was stopped from outside, because its time was up.
pub(super) const OVERRAN: &str = "slice_overran";

/// What is known of the services that were begun.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    /// Services that could not be cleaned up, and why.
    pub(super) uncleaned: Vec<(ServiceName, String)>,
    /// Whether whoever restored has said itself that it failed; one that was killed, or stopped, may have come to its end.
    pub(super) is_certain: bool,
}

/// Whether whoever restored has said itself that it failed.
pub(super) fn is_certain(failure: &Failure) -> bool {
    !["worker_died", "slice_timed_out", "timed_out", "unknown", INTERRUPTED, OVERRAN]
        .contains(&failure.code.as_str())
}

/// What is as it was, what is not, and how to have the old state back.
pub(super) fn report(restore: &Restore, left: &Left) -> String {
    if restore.rehearsal {
        return tried(left);
    }
    if !restore.has_begun() {
        return "Nothing was changed".to_owned();
    }
    let services: Vec<String> = restore.runs.iter().map(|run| state(restore, run, left)).collect();
    let undo = match restore.safety_backup {
        Some(safety) => {
            format!(
                "What was there before is in the safety backup {safety}: undo this restore to have it back"
            )
        }
        None => "There is no safety backup".to_owned(),
    };
    format!("{}. {undo}", services.join("; "))
}

/// What a restore that was only tried has left.
fn tried(left: &Left) -> String {
    let uncleaned = left.uncleaned.iter().map(|(service, error)| {
        format!("; what was restored beside {service} could not be removed ({error})")
    });
    std::iter::once("Nothing of the application was changed".to_owned()).chain(uncleaned).collect()
}

/// Whether a service is a storage. What was looked at says so, also where nothing can be asked any more.
pub(super) fn is_storage(restore: &Restore, run: &RestoreRun) -> bool {
    restore.preflight.iter().any(|found| found.service == run.service && found.changes.is_some())
}

fn state(restore: &Restore, run: &RestoreRun, left: &Left) -> String {
    let RestoreRun { service, doing, restored, .. } = run;
    if restored.is_some() {
        return format!("{service} is restored");
    }
    if doing.is_none() {
        return format!("{service} is as it was");
    }
    // Its files come one by one.
    let what = match (is_storage(restore, run), left.is_certain) {
        (true, _) => format!("{service} has some of the backup's files already"),
        (false, true) => format!("{service} is as it was, but for what the preflight has named"),
        (false, false) => {
            format!("{service} is as it was, or all restored: it was stopped before it could say so")
        }
    };
    match left.uncleaned.iter().find(|(uncleaned, _)| uncleaned == service) {
        Some((_, error)) => format!("{what}; what was begun there could not be removed ({error})"),
        None => what,
    }
}
