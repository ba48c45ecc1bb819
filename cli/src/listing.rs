//! Lists that the API gives page by page.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client::{Call, Client},
    failure::Failure,
};

/// Most items the API puts on a page.
const PAGE_MAX: usize = 200;

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    /// Path of the next page.
    next: Option<String>,
}

/// The first `limit` items of the list that `first` asks for.
pub(crate) async fn items(client: &Client, first: Call, limit: usize) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    let mut call = first.query("limit", limit.clamp(1, PAGE_MAX).to_string());
    while items.len() < limit {
        let page: Page = client.call(&call).await?.read()?;
        items.extend(page.items);
        match page.next {
            Some(next) => call = Call::get(next),
            None => break,
        }
    }
    items.truncate(limit);
    Ok(items)
}

/// A list as one JSON document, in the form of the API's pages.
pub(crate) fn document(items: &[Value]) -> Value {
    json!({ "items": items })
}

/// Reads each item of a list.
pub(crate) fn read<T: serde::de::DeserializeOwned>(items: Vec<Value>) -> Result<Vec<T>, Failure> {
    items.into_iter().map(read_one).collect()
}

/// Reads one item.
pub(crate) fn read_one<T: serde::de::DeserializeOwned>(item: Value) -> Result<T, Failure> {
    serde_json::from_value(item).map_err(|error| {
        Failure::new(format!("the API's answer cannot be understood: {error}"))
            .fix("check that this command line is not older than the API")
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        client::tests::client,
        scripted_server::{Reply, Server},
    };

    #[rstest]
    #[case::all(usize::MAX, &["/v1/x?limit=200", "/v1/x?cursor=b"], &[1, 2, 3])]
    #[case::some_of_the_second_page(3, &["/v1/x?limit=3", "/v1/x?cursor=b"], &[1, 2, 3])]
    #[case::the_first_page_is_enough(2, &["/v1/x?limit=2"], &[1, 2])]
    #[case::less_than_a_page(1, &["/v1/x?limit=1"], &[1])]
    #[tokio::test]
    async fn pages_are_read_until_there_are_enough(
        #[case] limit: usize,
        #[case] paths: &[&str],
        #[case] expected: &[u8],
    ) {
        let server = Server::start(|_, asked| {
            let last = asked.path.contains("cursor");
            let page = if last { r#"{"items":[3]}"# } else { r#"{"items":[1,2],"next":"/v1/x?cursor=b"}"# };
            Reply::new(200, page)
        })
        .await;
        let found = items(&client(&server), Call::get("/v1/x"), limit).await.unwrap();
        assert_eq!(document(&found), json!({ "items": expected }));
        let asked: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
        assert_eq!(asked, paths);
    }
}
