//! Why a server was not reached, or not any longer.

use std::io;

/// What an error of a connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreached {
    /// The host's name leads nowhere.
    UnknownHost,
    /// The resolver did not answer, so nobody knows whether the host exists.
    ResolverFailed,
    /// The host, or the port on it, does not answer.
    UnreachableHost,
    /// The connection broke.
    ConnectionLost,
}

impl Unreached {
    /// By the error of a connection that is being made.
    pub(super) fn of(error: &io::Error) -> Self {
        // The standard library has no kind for a name that does not resolve; these are its and the resolver's words.
        let words = error.to_string();
        if words.contains("lookup address") {
            let unsure = words.contains("emporary failure") || words.contains("ry again");
            return if unsure { Self::ResolverFailed } else { Self::UnknownHost };
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Self::UnreachableHost,
            _ => Self::ConnectionLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("failed to lookup address information: Name or service not known", Unreached::UnknownHost)]
    #[case(
        "failed to lookup address information: Temporary failure in name resolution",
        Unreached::ResolverFailed
    )]
    #[case("unexpected end of file", Unreached::ConnectionLost)]
    fn an_error_of_a_connection_has_its_meaning(#[case] words: &str, #[case] why: Unreached) {
        assert_eq!(Unreached::of(&io::Error::other(words)), why);
    }
}
