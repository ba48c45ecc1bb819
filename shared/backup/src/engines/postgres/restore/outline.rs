//! What `pg_restore` is given of an archive for schema and indexes: its table of contents without data, with what the plan
//! leaves out left out.

use holdfast_archive::pg_custom::{Contents, Offset};

use super::{
    facts::{is_of_the_database, text},
    plan::LeaveOut,
    roles,
};

/// `contents` without data.
pub(super) fn outlined(contents: &Contents, leave_out: &LeaveOut) -> Contents {
    let mut contents = contents.clone();
    contents.entries.retain(|entry| !is_of_the_database(entry));
    for entry in &mut contents.entries {
        entry.offset = Offset::NoData(0);
        let is_privileges =
            entry.description.as_deref().is_some_and(|description| description.ends_with(b"ACL"));
        // What is in another encoding is left as it is; the server then says which role it does not have.
        if is_privileges
            && !leave_out.grantees.is_empty()
            && let Some(Ok(definition)) = entry.definition.as_deref().map(str::from_utf8)
        {
            entry.definition = Some(roles::without(definition, &leave_out.grantees).into());
        }
        // Without an owner, `pg_restore` leaves an object to whoever restores it.
        if !is_privileges && (leave_out.all_owners || leave_out.owners.contains(&text(entry.owner.as_ref())))
        {
            entry.owner = Some(bytes::Bytes::new());
        }
        if leave_out.tablespaces.contains(&text(entry.tablespace.as_ref())) {
            entry.tablespace = Some(bytes::Bytes::new());
        }
    }
    contents
}
