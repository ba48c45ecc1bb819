//! What of a backup goes into which services.

use std::collections::BTreeSet;

use holdfast_domain::{
    application::{ApplicationSpec, Service},
    backup::{Artifact, Backup, Contents},
    id::ApplicationId,
    invalid::Invalid,
    restore::{Mapping, MediaMode, RestoreOptions},
};

/// Most tables, or files, that a request names in all: they are kept in its record.
const NAMES_MAX: usize = 200;

/// Longest name of a table, or key of a file, in bytes: that of a key in S3.
const NAME_MAX: usize = 1024;

/// The services that were asked for, checked; without any, those that have a namesake of their kind in `target`.
pub(super) fn choose(
    backup: &Backup,
    application: &ApplicationId,
    target: &ApplicationSpec,
    wanted: Option<Vec<Mapping>>,
) -> Result<Vec<Mapping>, Invalid> {
    let Some(wanted) = wanted else { return some_namesakes(backup, application, target) };
    if wanted.is_empty() {
        let fix = "name services, or leave it out to restore all that the backup has";
        return Err(Invalid::new("services", "is empty", fix));
    }
    let (mut sources, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for (index, mapping) in wanted.iter().enumerate() {
        let parent = format!("services[{index}]");
        check(backup, application, target, mapping).map_err(|invalid| invalid.within(&parent))?;
        for (name, seen, field) in [(&mapping.from, &mut sources, "from"), (&mapping.to, &mut targets, "to")]
        {
            if !seen.insert(name) {
                return Err(Invalid::new(
                    format!("{parent}.{field}"),
                    format!("names {:?} a second time", name.as_str()),
                    "restore one service into one service",
                ));
            }
        }
    }
    let names = wanted.iter().map(|mapping| mapping.tables.len() + mapping.files.len()).sum::<usize>();
    if names > NAMES_MAX {
        return Err(Invalid::new(
            "services",
            format!("names {names} tables and files"),
            format!("name at most {NAMES_MAX}: a folder with its slash at the end stands for all below it"),
        ));
    }
    Ok(wanted)
}

/// What has a namesake of its kind in `target`, which it goes into.
pub(crate) fn namesakes(backup: &Backup, target: &ApplicationSpec) -> Vec<Mapping> {
    let fits = |artifact: &&Artifact| {
        let namesake = target.service(&artifact.service);
        namesake.is_some_and(|service| service.kind() == kind(&artifact.contents))
    };
    let mapping = |artifact: &Artifact| Mapping {
        from: artifact.service.clone(),
        to: artifact.service.clone(),
        tables: Vec::new(),
        files: Vec::new(),
    };
    backup.artifacts.iter().filter(fits).map(mapping).collect()
}

/// Those that have a namesake, at least one.
fn some_namesakes(
    backup: &Backup,
    application: &ApplicationId,
    target: &ApplicationSpec,
) -> Result<Vec<Mapping>, Invalid> {
    let found = namesakes(backup, target);
    if found.is_empty() {
        return Err(Invalid::new(
            "services",
            format!(
                "is left out, and {application} has no service with the name and kind of one in the backup"
            ),
            format!("say what goes where: the backup has {}", names(backup)),
        ));
    }
    Ok(found)
}

fn check(
    backup: &Backup,
    application: &ApplicationId,
    target: &ApplicationSpec,
    mapping: &Mapping,
) -> Result<(), Invalid> {
    let Some(artifact) = backup.artifacts.iter().find(|artifact| artifact.service == mapping.from) else {
        return Err(Invalid::new(
            "from",
            format!("names a service that the backup does not have: {:?}", mapping.from.as_str()),
            format!("use one of {}", names(backup)),
        ));
    };
    let Some(service) = target.service(&mapping.to) else {
        let known: Vec<&str> = target.services.iter().map(|service| service.name().as_str()).collect();
        return Err(Invalid::new(
            "to",
            format!("names a service that {application} does not have: {:?}", mapping.to.as_str()),
            format!("use one of {}", known.join(", ")),
        ));
    };
    let (held, goes_into) = (kind(&artifact.contents), service.kind());
    if held != goes_into {
        return Err(Invalid::new(
            "to",
            format!(
                "is of the kind {goes_into}, and {:?} in the backup is of the kind {held}",
                mapping.from.as_str()
            ),
            format!("name a service of the kind {held}"),
        ));
    }
    if !mapping.tables.is_empty() && !service.is_database() {
        return Err(Invalid::new("tables", "is for databases, and this is a storage", "use `files`"));
    }
    if !mapping.files.is_empty() && service.is_database() {
        return Err(Invalid::new("files", "is for storages, and this is a database", "use `tables`"));
    }
    for (field, wanted) in [("tables", &mapping.tables), ("files", &mapping.files)] {
        let mut seen = BTreeSet::new();
        for (index, name) in wanted.iter().enumerate() {
            let problem = match name.as_str() {
                "" => "is empty",
                name if name.len() > NAME_MAX => "is too long",
                name if name.contains('\0') => "has a NUL in it",
                name if !seen.insert(name) => "is there a second time",
                _ => continue,
            };
            let fix = "name each table or file once, as the backup has it";
            return Err(Invalid::new(format!("{field}[{index}]"), problem, fix));
        }
    }
    Ok(())
}

/// Checks what the options say about storages. An undo mirrors single files too: it takes back what was put in their places.
pub(super) fn check_options(
    options: &RestoreOptions,
    services: &[Mapping],
    target: &ApplicationSpec,
    is_undo: bool,
) -> Result<(), Invalid> {
    let is_storage = |mapping: &&Mapping| {
        target.service(&mapping.to).is_some_and(|service| matches!(service, Service::Storage(_)))
    };
    let storages: Vec<&Mapping> = services.iter().filter(is_storage).collect();
    if let Some(prefix) = &options.into_prefix {
        let field = "options.into_prefix";
        if storages.is_empty() {
            let fix = "leave it out, or restore a storage";
            return Err(Invalid::new(field, "is for storages, and none is restored", fix));
        }
        if prefix.starts_with('/') || prefix.len() > NAME_MAX || prefix.contains('\0') {
            return Err(Invalid::new(
                field,
                format!("does not match keys as S3 has them: {prefix:?}"),
                "give it without a leading slash, as in \"restored/\"",
            ));
        }
        if storages.len() > 1 {
            return Err(Invalid::new(
                field,
                format!("would put the files of {} storages into one place", storages.len()),
                "restore one storage at a time into another prefix",
            ));
        }
        // Below its own prefix a storage has a safety backup, and another application's files are somebody else's.
        let outside = storages.iter().filter_map(|mapping| target.service(&mapping.to));
        if let Some(Service::Storage(storage)) =
            outside.into_iter().find(|service| !is_within(service, prefix))
        {
            return Err(Invalid::new(
                field,
                format!(
                    "is {prefix:?}, which is not below the prefix {:?} of {}",
                    storage.prefix, storage.name
                ),
                format!("give one below the storage's own, as in \"{}restored/\"", storage.prefix),
            ));
        }
    }
    if options.media == MediaMode::Mirror
        && !is_undo
        && let Some(part) = storages.iter().find(|mapping| !mapping.files.is_empty())
    {
        return Err(Invalid::new(
            "options.media",
            format!("is mirror, which would remove what is not among the `files` of {}", part.to),
            "use merge to restore single files",
        ));
    }
    Ok(())
}

/// Whether a backup of the service has what is below `prefix`.
fn is_within(service: &Service, prefix: &str) -> bool {
    matches!(service, Service::Storage(storage) if prefix.starts_with(&storage.prefix))
}

/// The kind of service that an artifact was written for, as registrations have it.
pub(crate) fn kind(contents: &Contents) -> &'static str {
    match contents {
        Contents::PostgresCustom { .. } => "postgres",
        Contents::MysqlSql { .. } => "mysql",
        Contents::MediaTar { .. } => "storage",
    }
}

fn names(backup: &Backup) -> String {
    let name = |artifact: &Artifact| format!("{} ({})", artifact.service, kind(&artifact.contents));
    backup.artifacts.iter().map(name).collect::<Vec<_>>().join(", ")
}
