//! What the states of RDS mean for a backup.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>

/// What can be done with something of RDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It can be used.
    Ready,
    /// It is changing, and will be in another state.
    Working,
    /// It stays as it is until somebody does something.
    Failed,
}

/// Whether a source can be snapshotted.
pub(super) fn of_source(status: &str) -> Status {
    match status {
        "available" | "storage-optimization" | "storage-initialization" => Status::Ready,
        // Nothing is snapshotted that is on its way out, or that does not run.
        "deleting" | "stopped" => Status::Failed,
        other => of_changing(other),
    }
}

/// Whether a temporary thing can be used. One that is going is waited for: it is made again.
pub(super) fn of_copy(status: &str) -> Status {
    match status {
        "available" | "backing-up" | "storage-optimization" | "storage-initialization" => Status::Ready,
        other => of_changing(other),
    }
}

/// Whether it is being deleted already.
pub(super) fn is_going(status: &str) -> bool {
    ["deleting", "deleted"].contains(&status)
}

fn of_changing(status: &str) -> Status {
    let is_final = status.starts_with("incompatible-")
        || status.starts_with("inaccessible-")
        || ["failed", "restore-error", "insufficient-capacity", "storage-full", "cloning-failed"]
            .contains(&status);
    if is_final { Status::Failed } else { Status::Working }
}

/// What to do about a copy in a state that it stays in, to follow its name.
pub(super) fn advice(status: &str) -> &'static str {
    match status {
        "incompatible-parameters" => {
            ": its parameter group, which is that of the source, asks for more than its class has; name a larger one by the \
             stack's parameter IsolatedInstanceClass"
        }
        "incompatible-network" => {
            ": its subnets have no room or do not fit its class; name others by the stack's parameter IsolatedSubnetGroup"
        }
        "insufficient-capacity" => {
            ": its zones have no instance of its class just now; name another by the stack's parameter IsolatedInstanceClass"
        }
        status if status.starts_with("inaccessible-") => {
            ": the key that encrypts its storage cannot be used; look whether it is enabled, and whether the worker may use it"
        }
        _ => ": the events of RDS say why",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("available", Status::Ready, Status::Ready)]
    #[case("backing-up", Status::Working, Status::Ready)]
    #[case("creating", Status::Working, Status::Working)]
    #[case("modifying", Status::Working, Status::Working)]
    #[case("deleting", Status::Failed, Status::Working)]
    #[case("stopped", Status::Failed, Status::Working)]
    #[case("failed", Status::Failed, Status::Failed)]
    #[case("incompatible-network", Status::Failed, Status::Failed)]
    #[case("inaccessible-encryption-credentials", Status::Failed, Status::Failed)]
    #[case("a-state-of-tomorrow", Status::Working, Status::Working)]
    fn states_mean(#[case] status: &str, #[case] source: Status, #[case] copy: Status) {
        assert_eq!((of_source(status), of_copy(status)), (source, copy));
    }
}
