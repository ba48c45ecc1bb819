//! What is wrong with a document, in words and with the path of the field at fault.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Value, error::Category};

use crate::problem::{Kind, Problem, sentence};

/// Most values that are tried out to find the one at fault.
const SUSPECTS_MAX: usize = 200;
/// Fields that say what kind of thing an object is: without one, any error becomes another.
const TAGS: [&str; 2] = ["kind", "mode"];

/// The problem of a text that is not one JSON document.
pub fn malformed(error: &serde_json::Error) -> Problem {
    let detail = match error.classify() {
        Category::Eof => "The JSON document ends too early".to_owned(),
        _ => format!("The body is not one JSON document: {}", bare(error)),
    };
    Problem::new(
        Kind::MalformedBody,
        format!("{detail}, at line {}, column {}.", error.line(), error.column()),
    )
    .fix("send one JSON document and nothing else")
}

/// The problem of `text`, which could not be read as a `T`: `error` happened at `path`.
pub fn explain<T: DeserializeOwned>(text: &str, path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return malformed(error);
    }
    let message = bare(error);
    let place = Place::<T>::new(text, if path == "." { "" } else { path }, &message);
    for (kind, start, fix) in [
        (Kind::UnknownField, "unknown field `", "leave the field out, or correct its name"),
        (Kind::MissingField, "missing field `", "add the field"),
        (Kind::DuplicateField, "duplicate field `", "give the field once"),
    ] {
        if let Some(name) = quoted(&message, start) {
            let (field, what) = match kind {
                Kind::UnknownField => {
                    let known = message.split_once("`, ").map(|(_, known)| known).unwrap_or_default();
                    (place.unknown(name), format!("is not a field; {known}"))
                }
                Kind::MissingField => (place.missing(name), "is missing".to_owned()),
                _ => (place.duplicate(name), "is there twice".to_owned()),
            };
            return Problem::new(kind, format!("`{field}` {what}.")).at(field).fix(fix);
        }
    }
    let field = place.wrong();
    // Our own types say "problem; what to do" (`Invalid`), some with the name of the field in front.
    let (problem, fix) = match message.rsplit_once("; ") {
        Some((problem, fix)) => (problem.to_owned(), fix.to_owned()),
        None => (expectation(&message), "send a value of the kind the API's description asks for".to_owned()),
    };
    let detail = match problem.strip_prefix('`').and_then(|rest| rest.split_once("` ")) {
        Some((_, rest)) => format!("`{field}` {rest}"),
        None if field.is_empty() => format!("the document is not right: {problem}"),
        None => format!("`{field}`: {problem}"),
    };
    let refusal = Problem::new(Kind::InvalidValue, sentence(&detail)).fix(fix);
    if field.is_empty() { refusal } else { refusal.at(field) }
}

/// The message without the position, which says little to who wrote the document with a program.
fn bare(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&position).unwrap_or(&message).to_owned()
}

fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(start)?;
    let end = rest
        .find("`, expected ")
        .or_else(|| rest.find("`, there are no fields"))
        .or_else(|| rest.rfind('`'))?;
    rest.get(..end)
}

fn child(parent: &str, name: &str) -> String {
    // The path may end in the unknown field already.
    if parent == name || parent.ends_with(&format!(".{name}")) {
        parent.to_owned()
    } else if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// Rust's names of number types, in the words of JSON.
fn expectation(message: &str) -> String {
    let ranges = [
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ];
    for (rust, json) in ranges {
        if let Some(start) = message.strip_suffix(rust) {
            return format!("{start}{json}");
        }
    }
    match message
        .split_once("expected struct ")
        .or_else(|| message.split_once("expected internally tagged enum "))
    {
        Some((start, _)) => format!("{start}expected an object"),
        None => message.to_owned(),
    }
}

/// Where in a document a fault is.
///
/// Where a part of the document says by a field what kind of thing it is, serde reads that part from a buffer, and its
/// errors no longer tell where in it they arose. The field at fault is then found by trial: it is the one without which
/// (or, for a missing field, the object with which) the error would be another.
struct Place<'a, T> {
    /// The whole document; `null` if it cannot be read as JSON a second time.
    whole: Value,
    /// As far as serde knows.
    path: &'a str,
    /// What serde says.
    message: &'a str,
    /// Members of objects below `path`, parents before children.
    suspects: Vec<Suspect>,
    /// Whether a second reading finds the same fault first; it reads members in the order of their names.
    repeats: bool,
    shape: PhantomData<T>,
}

impl<'a, T: DeserializeOwned> Place<'a, T> {
    fn new(text: &str, path: &'a str, message: &'a str) -> Self {
        let whole: Value = serde_json::from_str(text).unwrap_or_default();
        let mut suspects = Vec::new();
        let pointer = pointer(path);
        if let Some(part) = whole.pointer(&pointer) {
            collect(part, path, &pointer, &mut suspects);
        }
        if suspects.len() > SUSPECTS_MAX {
            suspects.clear();
        }
        let mut place = Self { whole, path, message, suspects, repeats: false, shape: PhantomData };
        place.repeats = Self::error(&place.whole).is_some_and(|error| error == message);
        place
    }

    fn unknown(&self, name: &str) -> String {
        let found = self.suspects.iter().find(|suspect| suspect.name == name && self.matters(suspect));
        found.map_or_else(|| child(self.path, name), |suspect| suspect.path.clone())
    }

    fn missing(&self, name: &str) -> String {
        let pointer = pointer(self.path);
        let parents = self
            .suspects
            .iter()
            .map(|suspect| (&*suspect.path, format!("{}/{}", suspect.parent_pointer, suspect.escaped())));
        let mut parents = std::iter::once((self.path, pointer)).chain(parents);
        let lacks_it = |pointer: &str| {
            let mut with = self.whole.clone();
            let Some(Value::Object(members)) = with.pointer_mut(pointer) else { return false };
            members.insert(name.to_owned(), Value::Null);
            Self::error(&with)
                .is_none_or(|error| error != self.message && !error.starts_with("unknown field"))
        };
        let parent = parents.find(|(_, pointer)| lacks_it(pointer)).map_or(self.path, |(path, _)| path);
        child(parent, name)
    }

    fn duplicate(&self, name: &str) -> String {
        // A second reading keeps the last of both and finds no fault: the name has to do.
        let mut named = self.suspects.iter().filter(|suspect| suspect.name == name);
        match (named.next(), named.next()) {
            (Some(only), None) => only.path.clone(),
            _ => child(self.path, name),
        }
    }

    fn wrong(&self) -> String {
        let deepest = |tag: bool| {
            let mut some = self.suspects.iter().rev().filter(|suspect| TAGS.contains(&&*suspect.name) == tag);
            some.find(|suspect| self.matters(suspect)).map(|suspect| suspect.path.clone())
        };
        match (deepest(false), deepest(true)) {
            (Some(member), Some(tag)) if tag.starts_with(&format!("{member}.")) => tag,
            (Some(member), _) => member,
            (None, Some(tag)) => tag,
            (None, None) => self.path.to_owned(),
        }
    }

    /// Whether the error would be another without it.
    fn matters(&self, suspect: &Suspect) -> bool {
        if !self.repeats {
            return false;
        }
        let mut without = self.whole.clone();
        if let Some(Value::Object(parent)) = without.pointer_mut(&suspect.parent_pointer) {
            parent.remove(&suspect.name);
        }
        Self::error(&without).is_none_or(|error| error != self.message)
    }

    /// What is wrong with a variation of the document, read as text so that the words are the same.
    fn error(document: &Value) -> Option<String> {
        serde_json::from_str::<T>(&document.to_string()).err().map(|error| bare(&error))
    }
}

/// A member of an object, somewhere in the document.
struct Suspect {
    path: String,
    parent_pointer: String,
    name: String,
}

impl Suspect {
    /// Its name as part of a JSON pointer.
    fn escaped(&self) -> String {
        self.name.replace('~', "~0").replace('/', "~1")
    }
}

/// All members of objects below `value`, parents before children.
fn collect(value: &Value, path: &str, pointer: &str, suspects: &mut Vec<Suspect>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let member_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let suspect = Suspect {
                    path: member_path.clone(),
                    parent_pointer: pointer.to_owned(),
                    name: name.clone(),
                };
                let member_pointer = format!("{pointer}/{}", suspect.escaped());
                suspects.push(suspect);
                collect(member, &member_path, &member_pointer, suspects);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{path}[{index}]"), &format!("{pointer}/{index}"), suspects);
            }
        }
        _ => {}
    }
}

/// The JSON pointer (RFC 6901) of a path such as `services[0].port`.
fn pointer(path: &str) -> String {
    let mut pointer = String::new();
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        pointer.push('/');
        pointer.push_str(step.trim_end_matches(']'));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use crate::document;
    use holdfast_domain::{application::ApplicationSpec, plan::PlanSpec};
    use rstest::rstest;

    const SECRET: &str = "arn:aws:secretsmanager:eu-central-1:1:secret:s";

    /// The type, the field and the detail of what is wrong with a registration of one service.
    fn refusal(service: &str) -> (String, String, String) {
        let text = format!(r#"{{"services":[{{"kind":"storage","name":"OK","bucket":"bbb"}},{service}]}}"#);
        let problem = document::read::<ApplicationSpec>(text.as_bytes()).unwrap_err();
        (
            problem.kind.rsplit_once(':').unwrap().1.to_owned(),
            problem.field.clone().unwrap_or_default(),
            problem.detail.clone(),
        )
    }

    #[rstest]
    #[case(
        r#"{"kind":"postgres","name":"D","host":"h","port":"5432","database":"d","secret_arn":"SECRET"}"#,
        "invalid-value",
        "services[1].port"
    )]
    #[case(
        r#"{"kind":"postgres","name":"D","host":"h","port":70000,"database":"d","secret_arn":"SECRET"}"#,
        "invalid-value",
        "services[1].port"
    )]
    #[case(
        r#"{"kind":"postgres","name":"D","hostname":"h","database":"d","secret_arn":"SECRET"}"#,
        "unknown-field",
        "services[1].hostname"
    )]
    #[case(
        r#"{"kind":"postgres","name":"D","host":"h","secret_arn":"SECRET"}"#,
        "missing-field",
        "services[1].database"
    )]
    #[case(
        r#"{"kind":"postgres","name":"a b","host":"h","database":"d","secret_arn":"SECRET"}"#,
        "invalid-value",
        "services[1].name"
    )]
    #[case(r#"{"kind":"postgres","name":"D","host":"h","database":"d","secret_arn":"SECRET","tls":{"mode":"off"}}"#, "invalid-value", "services[1].tls.mode")]
    #[case(r#"{"kind":"postgres","name":"D","host":"h","database":"d","secret_arn":"SECRET","tls":{"mode":"verify_full","ca":"x"}}"#, "unknown-field", "services[1].tls.ca")]
    #[case(r#"{"kind":"postgres","name":"D","host":"h","database":"d","secret_arn":"SECRET","tls":{"mode":"verify_full","ca_pem":7}}"#, "invalid-value", "services[1].tls.ca_pem")]
    #[case(r#"{"kind":"oracle","name":"D"}"#, "invalid-value", "services[1].kind")]
    #[case(r#"{"name":"D"}"#, "missing-field", "services[1].kind")]
    #[case(
        r#"{"kind":"storage","name":"M","bucket":"bbb","bucket":"ccc"}"#,
        "duplicate-field",
        "services[1].bucket"
    )]
    #[case(r#""shop-media""#, "invalid-value", "services[1]")]
    fn the_field_at_fault_is_named_within_a_service(
        #[case] service: &str,
        #[case] kind: &str,
        #[case] field: &str,
    ) {
        let (found, at, detail) = refusal(&service.replace("SECRET", SECRET));
        assert_eq!((found.as_str(), at.as_str()), (kind, field), "{detail}");
    }

    #[rstest]
    #[case(r#"{"limits":{"on_demand_per_day":-1}}"#, "invalid-value", "limits.on_demand_per_day")]
    #[case(
        r#"{"schedule":{"kind":"daily","window":{"start":100,"minutes":60}}}"#,
        "invalid-value",
        "schedule.window.start"
    )]
    #[case(
        r#"{"schedule":{"kind":"daily","window":{"start":"01:00"}}}"#,
        "missing-field",
        "schedule.window.minutes"
    )]
    #[case(r#"{"schedule":{"kind":"cron","expression":7}}"#, "invalid-value", "schedule.expression")]
    #[case(r#"{"schedule":{"kind":"hourly"}}"#, "invalid-value", "schedule.kind")]
    #[case(
        r#"{"scheduled":{"kind":"gfs","daily":7,"weekly":4,"monthly":12,"yearly":3}}"#,
        "unknown-field",
        "scheduled.yearly"
    )]
    #[case(r#"{"retention":{}}"#, "unknown-field", "retention")]
    #[case(r#"{"limits":{},"limits":{}}"#, "duplicate-field", "limits")]
    fn the_field_at_fault_is_named_within_a_plan(
        #[case] text: &str,
        #[case] kind: &str,
        #[case] field: &str,
    ) {
        let problem = document::read::<PlanSpec>(text.as_bytes()).unwrap_err();
        assert!(problem.kind.ends_with(kind), "{problem:?}");
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }
}
