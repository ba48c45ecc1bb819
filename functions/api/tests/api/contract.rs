//! The description of the API, the router and the template agree.

use std::collections::BTreeSet;

use crate::{client::Client, schema::validate};
use http::Method;
use serde_json::Value;

/// The template that deploys the API.
const TEMPLATE: &str = include_str!("../../../../template.yaml");

/// Methods that a path could have.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "PATCH"];

async fn contract() -> Value {
    let answer = Client::new().get("/v1/openapi.json").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Every call of the contract, such as `GET /v1/plans/{plan}`.
fn described(contract: &Value) -> BTreeSet<String> {
    let paths = contract["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    calls.collect()
}

#[tokio::test]
async fn the_contract_is_this() {
    let mut contract = contract().await;
    assert_eq!(contract["openapi"], "3.1.0");
    contract["info"]["version"] = "the version of this crate".into();
    insta::assert_json_snapshot!(contract);
}

#[tokio::test]
async fn the_template_routes_every_call_of_the_contract_and_no_other() {
    let routed: BTreeSet<String> = TEMPLATE
        .split("RouteKey: \"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0.to_owned())
        .collect();
    assert_eq!(routed, described(&contract().await));
}

#[tokio::test]
async fn the_router_knows_every_call_of_the_contract_and_no_other() {
    let client = Client::new();
    let contract = contract().await;
    let described = described(&contract);
    for path in contract["paths"].as_object().unwrap().keys() {
        // Names that are none: every handler refuses them before it does anything.
        let concrete = path.replace("{app}", "NONE").replace("{plan}", "NONE").replace("{id}", "NONE");
        let concrete = concrete.replace("{service}", "DEFAULT").replace("{file}", "YQ");
        for method in METHODS {
            let answer = client.call(method.parse::<Method>().unwrap(), &concrete).send().await;
            let known = described.contains(&format!("{method} {path}"));
            assert_eq!(answer.status != 405, known, "{method} {path}: {}", answer.text);
            if answer.status.is_client_error() {
                assert_ne!(answer.problem().0, "unknown-path", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_call_is_described_in_full() {
    let contract = contract().await;
    assert!(contract["security"][0].get("sigv4").is_some());
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let call = format!("{method} {path}");
            assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{call}");
            assert_eq!(operation.get("security"), None, "{call} has the security of all");
            let statuses: BTreeSet<&str> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            assert!(
                ["400", "403", "500", "503"].iter().all(|status| statuses.contains(status)),
                "{call}: {statuses:?}"
            );
            assert_eq!(operation.get("requestBody").is_some(), statuses.contains("415"), "{call}");
            let named: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            assert_eq!(named, in_path, "{call}");
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn follow(contract: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(contract.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|member| follow(contract, member));
            }
            Value::Array(items) => items.iter().for_each(|item| follow(contract, item)),
            _ => {}
        }
    }
    let contract = contract().await;
    follow(&contract, &contract);
}

#[tokio::test]
async fn the_examples_are_what_they_are_examples_of() {
    let contract = contract().await;
    let mut seen = 0;
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            if !content.is_null() {
                let example = &content["example"];
                validate(&contract, &content["schema"], example, method).unwrap();
                let client = Client::new();
                let concrete = path.replace("{app}", "shop").replace("{plan}", "gold");
                let concrete = concrete.replace("{id}", "018bcfe5-6800-7707-8707-070707070707");
                let answer = client
                    .call(method.to_ascii_uppercase().parse().unwrap(), &concrete)
                    .json(example)
                    .send()
                    .await;
                assert_ne!(answer.status, 400, "{method} {path}: {}", answer.text);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 7, "each call with a body has an example");
    for (name, response) in contract["components"]["responses"].as_object().unwrap() {
        for content in response["content"].as_object().unwrap().values() {
            validate(&contract, &content["schema"], &content["example"], name).unwrap();
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_as_described_is_noticed() {
    let contract = contract().await;
    let schema = serde_json::json!({"$ref": "#/components/schemas/Application"});
    let client = Client::new();
    client.world.register("shop");
    let good = client.get("/v1/applications/shop").send().await.json();
    assert_eq!(validate(&contract, &schema, &good, ""), Ok(()));
    for (pointer, wrong) in [
        ("/version", Value::from("1")),
        ("/links", Value::from(serde_json::Map::new())),
        ("/spec/services/0/kind", "oracle".into()),
        ("/spec/services/1/bucket", Value::Null),
        ("/spec/services", serde_json::json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = wrong;
        assert!(validate(&contract, &schema, &bad, "").is_err(), "{pointer}");
    }
}
