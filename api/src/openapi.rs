//! The OpenAPI document, made from [`ROUTES`] and the types of this crate.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::debug::InvalidInput;
use crate::events::{Event, Missed};
use crate::message::Problem;
use crate::routes::{Answer, Content, PATH_NAMES, Parameter, ParameterKind, ROUTES};
use crate::routes::{Route, Who};

/// The version of OpenAPI whose schemas are JSON Schema without exceptions.
const OPENAPI: &str = "3.1.0";

/// The document as it is served and checked in: two spaces, a line end.
pub fn text() -> String {
    // A value with text keys can always be written.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .for_serialize()
        .into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operations = paths.entry(route.path).or_insert_with(|| json!({}));
        operations[route.method.as_str()] = operation(route, &mut generator);
    }
    // Told of in words only: OpenAPI cannot say what server-sent events hold.
    generator.subschema_for::<Event>();
    generator.subschema_for::<Missed>();
    generator.subschema_for::<InvalidInput>();
    let refusals: Map<String, Value> = refusals(Who::Writers)
        .iter()
        .map(|(name, answer)| ((*name).to_owned(), answer_of(answer, &mut generator)))
        .collect();
    let mut schemas = Value::Object(generator.take_definitions(true));
    unlink(&mut schemas);
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "etcd scheduler",
            "description": "The API of the scheduler that runs etcd on Apache Mesos.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of the scheduler's token file. One that may \
                                only read is refused (403) where something is changed, \
                                and where all data is shown.",
            }},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut answers = Map::new();
    for answer in route.answers {
        answers.insert(answer.status.to_owned(), answer_of(answer, generator));
    }
    for (name, answer) in refusals(route.who) {
        answers
            .entry(answer.status)
            .or_insert_with(|| json!({"$ref": format!("#/components/responses/{name}")}));
    }
    let mut operation = json!({
        "tags": [route.group.as_str()],
        "summary": route.summary,
        "operationId": operation_id(route),
        "responses": answers,
    });
    let parameters: Vec<Value> = in_path(route.path)
        .chain(route.query.iter().map(in_query))
        .collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(content) = &route.takes {
        operation["requestBody"] =
            json!({"required": false, "content": contents(&[*content], generator)});
    }
    if route.who == Who::Anyone {
        operation["security"] = json!([]);
    }
    operation
}

/// `get_v1_pod_pod_status`.
fn operation_id(route: &Route) -> String {
    let words = route
        .path
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    [route.method.as_str()]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// What every route may answer, by whom it lets in; each under a name.
fn refusals(who: Who) -> &'static [(&'static str, Answer)] {
    const fn refusal(status: &'static str, meaning: &'static str) -> Answer {
        Answer {
            status,
            meaning,
            body: &[Content::Json(|generator| {
                generator.subschema_for::<Problem>()
            })],
        }
    }
    const ALL: &[(&str, Answer)] = &[
        (
            "Unavailable",
            refusal(
                "503",
                "The scheduler did not answer in time, or is stopping.",
            ),
        ),
        (
            "Unauthorized",
            refusal("401", "A token is needed, or this one is not known."),
        ),
        ("Forbidden", refusal("403", "This token may only read.")),
    ];
    match who {
        Who::Anyone => &[],
        Who::Readers => &ALL[..2],
        Who::Writers => ALL,
    }
}

fn answer_of(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    json!({
        "description": answer.meaning,
        "content": contents(answer.body, generator),
    })
}

fn contents(bodies: &[Content], generator: &mut SchemaGenerator) -> Value {
    let mut contents = Map::new();
    for body in bodies {
        let (media_type, schema) = match body {
            Content::Json(schema) => ("application/json", schema(generator).to_value()),
            Content::Text => ("text/plain", json!({"type": "string"})),
            Content::Other(media_type) => (*media_type, json!({})),
        };
        contents.insert(media_type.to_owned(), json!({"schema": schema}));
    }
    Value::Object(contents)
}

/// The names that stand in braces in a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn in_path(path: &str) -> impl Iterator<Item = Value> {
    names(path).map(|name| {
        let meaning = PATH_NAMES.iter().find(|(known, _)| *known == name);
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "description": meaning.map(|(_, meaning)| *meaning),
            "schema": {"type": "string"},
        })
    })
}

fn in_query(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        ParameterKind::Text => json!({"type": "string"}),
        ParameterKind::Whole => json!({"type": "integer", "minimum": 0}),
        ParameterKind::Switch => json!({"type": "boolean"}),
    };
    let mut described = json!({
        "name": parameter.name,
        "in": "query",
        "required": false,
        "description": parameter.meaning,
        "schema": schema,
    });
    if parameter.kind == ParameterKind::Switch {
        described["allowEmptyValue"] = true.into();
    }
    described
}

/// Links between Rust's documentation lead nowhere from here.
fn unlink(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            fields.values_mut().for_each(unlink);
        }
        Value::Array(parts) => parts.iter_mut().for_each(unlink),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            let key = (route.path, route.method);
            assert!(seen.insert(key), "{key:?} is there twice");
            assert!(!route.answers.is_empty(), "{key:?}");
            assert!(route.summary.ends_with('.'), "{key:?}");
            for name in names(route.path) {
                let known = PATH_NAMES.iter().any(|(known, _)| *known == name);
                assert!(known, "{{{name}}} of {} is not explained", route.path);
            }
        }
    }

    /// Each `$ref` leads to a schema, and each schema is explained.
    #[test]
    fn the_document_is_whole() {
        fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        found.insert(to);
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(parts) => {
                    parts.iter().for_each(|value| references(value, found));
                }
                _ => {}
            }
        }
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for reference in found {
            let schema = document.pointer(&reference[1..]);
            let schema = schema.unwrap_or_else(|| panic!("{reference}"));
            assert!(schema["description"].is_string(), "{reference}");
        }
        let ids: BTreeSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
    }
}
