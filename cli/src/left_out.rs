//! Files that are not in an archive, in words.

/// How many are named.
const SHOWN: usize = 5;

/// How many were left out, if any were.
pub(crate) fn count(skipped: u64) -> Option<String> {
    match skipped {
        0 => None,
        1 => Some("1 file left out".to_owned()),
        count => Some(format!("{count} files left out")),
    }
}

/// The same with the first of them, by key and reason; the manifest in the archive names all.
pub(crate) fn words<'a>(skipped: u64, named: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let named: Vec<String> = named.take(SHOWN).map(|(key, reason)| format!("{key} ({reason})")).collect();
    let shown = u64::try_from(named.len()).unwrap_or(u64::MAX);
    let more = match skipped.saturating_sub(shown) {
        0 => String::new(),
        more => format!("; and {more} more, which MANIFEST.jsonl in the archive names"),
    };
    Some(format!("{}: {}{more}", count(skipped)?, named.join(", ")))
}
