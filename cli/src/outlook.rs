//! When a backup's label rises and when it goes, as the API says it and as a person reads it.

use chrono::NaiveDate;
use serde::Deserialize;

/// What comes next for a backup, given one scheduled success a day.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Next {
    next_relabel: Option<Relabel>,
    discard: Departure,
}

#[derive(Debug, Clone, Deserialize)]
struct Relabel {
    on: NaiveDate,
    to: String,
}

/// Read as what may be there, so that a kind of a newer API shows too.
#[derive(Debug, Clone, Deserialize)]
struct Departure {
    kind: String,
    on: Option<NaiveDate>,
    after: Option<NaiveDate>,
}

impl Next {
    /// The next time its label rises: `monthly on 2026-05-04`.
    pub(crate) fn relabel(&self) -> Option<String> {
        self.next_relabel.as_ref().map(|next| format!("{} on {}", next.to, next.on))
    }

    /// When it goes: `2027-01-02`, `never`, `after 2037-01-01`.
    pub(crate) fn discard(&self) -> String {
        match (self.discard.on, self.discard.after) {
            (Some(on), _) => on.to_string(),
            (None, Some(after)) => format!("after {after}"),
            (None, None) => self.discard.kind.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"kind": "on", "on": "2027-01-02", "reason": "x"}), "2027-01-02")]
    #[case(json!({"kind": "never", "reason": "x"}), "never")]
    #[case(json!({"kind": "after", "after": "2037-01-02"}), "after 2037-01-02")]
    #[case(json!({"kind": "some day", "new": 1}), "some day")]
    fn it_goes_some_day_or_never(#[case] discard: serde_json::Value, #[case] text: &str) {
        let next: Next = serde_json::from_value(json!({"next_relabel": null, "discard": discard})).unwrap();
        assert_eq!((next.discard().as_str(), next.relabel()), (text, None));
    }
}
