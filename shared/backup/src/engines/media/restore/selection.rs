//! Which files of a backup are restored: all, or those that were named.

use std::collections::BTreeMap;

/// Some keys of a backup, which stand side by side in the order of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every key that begins with this.
    Below(String),
    /// Just this key.
    Exactly(String),
}

impl Scope {
    /// What every key of it begins with.
    pub(super) fn start(&self) -> &str {
        match self {
            Self::Below(prefix) => prefix,
            Self::Exactly(key) => key,
        }
    }

    /// Whether `key` is in it.
    pub(super) fn holds(&self, key: &str) -> bool {
        match self {
            Self::Below(prefix) => key.starts_with(prefix.as_str()),
            Self::Exactly(only) => key == only,
        }
    }

    /// Whether every key of it comes after `key`, or might.
    fn goes_beyond(&self, key: &str) -> bool {
        key < self.start() || matches!(self, Self::Below(prefix) if key.starts_with(prefix.as_str()))
    }
}

/// The files that were named: keys, and prefixes that end in `/`. Without any, it is everything.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    names: Vec<String>,
    scopes: Vec<Scope>,
}

impl Selection {
    pub(super) fn new(names: &[String]) -> Self {
        if names.is_empty() {
            return Self { names: Vec::new(), scopes: vec![Scope::Below(String::new())] };
        }
        let mut sorted = names.to_vec();
        sorted.sort();
        let mut scopes: Vec<Scope> = Vec::new();
        for name in sorted {
            // What is below a prefix comes right after it, so that only the last can hold it.
            if scopes.last().is_some_and(|scope| scope.holds(&name)) {
                continue;
            }
            scopes.push(if name.ends_with('/') { Scope::Below(name) } else { Scope::Exactly(name) });
        }
        Self { names: names.to_vec(), scopes }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.names.is_empty()
    }

    /// The scopes that go beyond the key `after`, in the order of their keys. None overlaps another.
    pub(super) fn scopes(&self, after: Option<&str>) -> impl Iterator<Item = Scope> {
        let left = self.scopes.iter().filter(|scope| after.is_none_or(|after| scope.goes_beyond(after)));
        left.cloned().collect::<Vec<_>>().into_iter()
    }

    /// Each name, none of which was seen.
    pub(super) fn unseen(&self) -> Unseen {
        Unseen(self.names.iter().map(|name| (name.clone(), false)).collect())
    }
}

/// The names that were asked for, and whether the backup has them.
pub(super) struct Unseen(BTreeMap<String, bool>);

impl Unseen {
    /// The backup has `key`.
    pub(super) fn saw(&mut self, key: &str) {
        if self.0.is_empty() {
            return;
        }
        let folders = key.match_indices('/').map(|(slash, _)| &key[..=slash]);
        for name in folders.chain([key]) {
            if let Some(seen) = self.0.get_mut(name) {
                *seen = true;
            }
        }
    }

    /// Whether just `key` was asked for.
    pub(super) fn names(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The names that the backup does not have.
    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, seen)| !**seen).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(names: &[&str]) -> Selection {
        Selection::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn starts(selection: &Selection, after: Option<&str>) -> Vec<String> {
        selection.scopes(after).map(|scope| scope.start().to_owned()).collect()
    }

    #[test]
    fn what_a_prefix_has_is_not_named_twice() {
        let selection = selection(&["b", "a/c/d", "a/", "a-", "a", "a/c/", "b"]);
        assert_eq!(starts(&selection, None), ["a", "a-", "a/", "b"]);
        assert_eq!(starts(&selection, Some("a/x")), ["a/", "b"]);
        assert_eq!(starts(&selection, Some("a0")), ["b"]);
        assert_eq!(starts(&selection, Some("b")), Vec::<String>::new());
    }

    #[test]
    fn without_names_it_is_everything() {
        let all = selection(&[]);
        assert!(all.is_everything() && all.scopes(Some("z")).all(|scope| scope.holds("anything")));
        assert_eq!(all.unseen().left().count(), 0);
    }

    #[test]
    fn names_that_were_not_seen_are_left() {
        let mut unseen = selection(&["a", "b/", "b/c/", "d/e"]).unseen();
        for key in ["b/x", "d/e", "a/"] {
            unseen.saw(key);
        }
        assert_eq!(unseen.left().collect::<Vec<_>>(), ["a", "b/c/"]);
    }
}
