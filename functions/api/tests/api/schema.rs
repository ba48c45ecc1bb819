//! Whether an answer is one that the contract describes.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// Fails unless the contract describes this answer to this call: its status, its headers, its media type and its body.
pub(crate) fn check(
    contract: &Value,
    method: &Method,
    path: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
) {
    let Some(operation) = operation(contract, method, path) else {
        assert!(
            matches!(status.as_u16(), 404 | 405),
            "{method} {path} is not described and answers {status}"
        );
        return;
    };
    let response = &operation["responses"][status.as_str()];
    assert!(response.is_object(), "{method} {path} answers {status}, which is not described: {body}");
    let response = resolve(contract, response);
    for name in ["location", "etag", "retry-after", "content-location", "idempotency-replayed"] {
        let described = response["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(header, _)| header.eq_ignore_ascii_case(name));
        assert!(
            described || !headers.contains_key(name),
            "{method} {path}: {status} has a header {name} that is not described"
        );
    }
    let Some(content) = response["content"].as_object() else {
        assert!(body.is_empty(), "{method} {path}: {status} has a body that is not described");
        return;
    };
    let media_type = headers["content-type"].to_str().unwrap();
    let schema = &content
        .get(media_type)
        .unwrap_or_else(|| panic!("{method} {path}: {status} is {media_type}"))["schema"];
    if !media_type.ends_with("json") {
        assert_eq!(schema["type"], "string", "{method} {path}: {status} is {media_type}");
        return;
    }
    let body: Value = serde_json::from_str(body).unwrap();
    if let Err(fault) = validate(contract, schema, &body, "") {
        panic!("{method} {path}: {status} is not as described: {fault}\n{body:#}");
    }
}

/// Whether `value` is of the shape `schema`; otherwise where and why not. Knows what the contract uses of JSON Schema.
pub(crate) fn validate(contract: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolve(contract, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        validate(contract, part, value, at)?;
    }
    if let Some(kinds) = schema["oneOf"].as_array() {
        let faults: Vec<String> =
            kinds.iter().filter_map(|kind| validate(contract, kind, value, at).err()).collect();
        let fitting = kinds.len() - faults.len();
        return if fitting == 1 { Ok(()) } else { Err(format!("{at}: {fitting} kinds fit: {faults:?}")) };
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at}: {value} is none of {allowed:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|kind| is_of(kind, value)) {
        return Err(format!("{at}: {value} is not {types:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        validate(contract, &schema["items"], item, &format!("{at}[{index}]"))?;
    }
    let Some(members) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Err(format!("{at}.{name} is missing"));
        }
    }
    for (name, member) in members {
        match &schema["properties"][name] {
            Value::Null if schema["additionalProperties"] == false => {
                return Err(format!("{at}.{name} is unknown"));
            }
            Value::Null => {
                validate(contract, &schema["additionalProperties"], member, &format!("{at}.{name}"))?;
            }
            property => validate(contract, property, member, &format!("{at}.{name}"))?,
        }
    }
    Ok(())
}

/// The operation of the contract that answers a call: the one with the fewest names in its path.
fn operation<'a>(contract: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (mut left, mut right) = (template.split('/'), path.split('/'));
        let same = left
            .by_ref()
            .zip(right.by_ref())
            .all(|(part, text)| part.starts_with('{') && !text.is_empty() || part == text);
        same && template.split('/').count() == path.split('/').count()
    };
    let paths = contract["paths"].as_object().unwrap();
    let (_, item) = paths
        .iter()
        .filter(|(template, _)| fits(template))
        .min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_ascii_lowercase())
}

fn resolve<'a>(contract: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => contract.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}
