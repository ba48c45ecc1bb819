//! Lists in pages: `limit`, an opaque `cursor`, and the address of the next page.

use std::{fmt::Write, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    parameters::{Parameters, wrong},
    problem::Problem,
};

/// Items on a page when the caller does not say.
const LIMIT_DEFAULT: usize = 50;
/// Most items on a page: 200 backups of 20 services each stay below what one answer may hold (6 MB).
const LIMIT_MAX: usize = 200;

/// Parameters of every list that comes in pages.
#[expect(dead_code, reason = "the parameters are read one by one; this describes them")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// Most items on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
    /// Where the page begins: taken from the `next` of the page before, and good for the same list only.
    cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T: ToSchema> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Path and query of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/applications/shop/backups?limit=50&cursor=YmFja3Vwczow")]
    pub next: Option<String>,
}

/// Which page of the list called `list` is asked for.
#[derive(Debug)]
pub struct Wanted<C> {
    /// The list's name, which its cursors carry.
    list: &'static str,
    /// Most items on the page.
    pub limit: usize,
    /// Where the page begins.
    pub cursor: Option<C>,
}

impl<C: FromStr + ToString> Wanted<C> {
    /// Takes `limit` and `cursor` from the query.
    pub fn take(list: &'static str, parameters: &mut Parameters) -> Result<Self, Problem> {
        let range = format!("give a whole number from 1 to {LIMIT_MAX}");
        let limit = match parameters.text("limit")? {
            None => LIMIT_DEFAULT,
            Some(text) => match text.parse() {
                Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => limit,
                _ => return Err(wrong("limit", &text, &range)),
            },
        };
        let cursor = match parameters.text("cursor")? {
            None => None,
            Some(text) => Some(decode(list, &text).ok_or_else(|| {
                wrong("cursor", &text, "take it from the `next` of a page of the same list, or leave it out")
            })?),
        };
        Ok(Self { list, limit, cursor })
    }

    /// The address of the page that begins at `next`, with the list's other parameters kept.
    pub fn next(&self, path: &str, filters: &[(&str, String)], next: Option<&C>) -> Option<String> {
        let cursor = BASE64_URL_SAFE_NO_PAD.encode(format!("{}:{}", self.list, next?.to_string()));
        let mut address = format!("{path}?limit={}&cursor={cursor}", self.limit);
        for (name, value) in filters {
            // Writing to a string cannot fail.
            let _ = write!(address, "&{name}={}", value.replace('+', "%2B"));
        }
        Some(address)
    }
}

fn decode<C: FromStr>(list: &str, text: &str) -> Option<C> {
    let plain = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    plain.strip_prefix(list)?.strip_prefix(':')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn a_cursor_reads_back_in_its_own_list_only() {
        let wanted = Wanted::<String> { list: "events", limit: 7, cursor: None };
        let next = wanted
            .next("/v1/x", &[("since", "2026-01-01T00:00:00+01:00".to_owned())], Some(&"abc".to_owned()))
            .unwrap();
        let cursor = next
            .strip_prefix("/v1/x?limit=7&cursor=")
            .and_then(|rest| rest.strip_suffix("&since=2026-01-01T00:00:00%2B01:00"))
            .unwrap();
        assert_eq!(decode::<String>("events", cursor), Some("abc".to_owned()));
        assert_eq!(decode::<String>("backups", cursor), None);
    }

    #[rstest]
    #[case("not base64!")]
    #[case("")]
    #[case("ZXZlbnRz")]
    fn a_cursor_that_nobody_gave_is_refused(#[case] text: &str) {
        assert_eq!(decode::<String>("events", text), None);
    }
}
