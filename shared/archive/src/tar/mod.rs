//! The tar format (POSIX.1-2001, "pax"): names and headers that stock tools read without a warning.

pub mod member;
pub mod writer;

pub use member::{ESCAPED_FOLDER, MANIFEST_NAME, Member, MemberKind, MemberNames, OutOfOrder};
