//! Reads the layers: each value becomes a [`Given`], or an error.

use std::fs;
use std::path::Path;

use figment::value::{Dict, Empty, Map};
use figment::{Metadata, Profile, Provider};
use serde_json::Value as Json;

use super::errors::{LoadError, Origin};
use super::given_twice::given_twice;
use super::suggest::{nearest_option, nearest_word};
use super::{ENVIRONMENT_PREFIX, OPTIONS_FILE_VARIABLE, Override};
use crate::{Kind, MilliCpus, OptionRow, Value, find_option};

/// The sections of the options file.
const SECTIONS: &[&str] = &["service", "node", "etcd", "scheduler"];

/// One option with a good value: a layer of its own for figment, so that figment
/// knows for each value where it came from.
pub(crate) struct Given {
    row: &'static OptionRow,
    value: Value,
    origin: Origin,
}

impl Given {
    /// The name of the option.
    pub(crate) fn name(&self) -> &'static str {
        self.row.name
    }
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        (&self.origin).into()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let value = match &self.value {
            Value::Unset => Empty::None.into(),
            Value::Switch(value) => (*value).into(),
            Value::Whole(value) => (*value).into(),
            Value::Cpus(value) => value.cpus().into(),
            Value::Text(value) => value.clone().into(),
            Value::List(value) => value.clone().into(),
        };
        let nested = figment::util::nest(self.row.name, value);
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// Whether a text may stand for a number or a switch.
#[derive(Clone, Copy, PartialEq)]
enum Spelling {
    /// As in JSON: `"3"` is not a number.
    Json,
    /// As in the environment and in flags, where everything is a text.
    Text,
}

/// Reads the options file.
pub(super) fn read_file(
    path: &Path,
    given: &mut Vec<Given>,
    errors: &mut Vec<LoadError>,
) {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            let (path, reason) = (path.to_owned(), error.to_string());
            return errors.push(LoadError::UnreadableFile { path, reason });
        }
    };
    read_json(&text, &Origin::File(path.to_owned()), given, errors);
}

/// Reads a JSON document in the form of an options file.
pub(crate) fn read_json(
    text: &[u8],
    origin: &Origin,
    given: &mut Vec<Given>,
    errors: &mut Vec<LoadError>,
) {
    let json: Json = match serde_json::from_slice(text) {
        Ok(json) => json,
        Err(error) => return errors.push(broken_json(origin, &error)),
    };
    let Json::Object(sections) = json else {
        return errors.push(LoadError::NotASection {
            section: "the whole file".to_owned(),
            value: shown(&json),
            origin: origin.clone(),
        });
    };
    errors.extend(
        given_twice(text)
            .into_iter()
            .map(|option| LoadError::GivenTwice {
                option,
                origin: origin.clone(),
            }),
    );
    for (section, options) in sections {
        if !SECTIONS.contains(&section.as_str()) {
            let suggestion = nearest_word(&section, SECTIONS)
                .or_else(|| nearest_option(&section))
                .map(str::to_owned);
            errors.push(LoadError::Unknown {
                option: section,
                origin: origin.clone(),
                suggestion,
            });
            continue;
        }
        let Json::Object(options) = options else {
            let value = shown(&options);
            let origin = origin.clone();
            errors.push(LoadError::NotASection {
                section,
                value,
                origin,
            });
            continue;
        };
        for (key, value) in options {
            let name = format!("{section}.{key}");
            take(&name, &value, origin.clone(), Spelling::Json, given, errors);
        }
    }
}

fn broken_json(origin: &Origin, error: &serde_json::Error) -> LoadError {
    let text = error.to_string();
    let reason = text
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    let place = match origin {
        Origin::File(path) => path.display().to_string(),
        origin => origin.to_string(),
    };
    LoadError::BrokenJson {
        place,
        line: error.line(),
        column: error.column(),
        reason,
    }
}

/// Reads the variables that begin with our prefix: `ETCDFW_NODE__COUNT`.
pub(super) fn read_environment(
    environment: &[(String, String)],
    given: &mut Vec<Given>,
    errors: &mut Vec<LoadError>,
) {
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(ENVIRONMENT_PREFIX) else {
            continue;
        };
        if variable == OPTIONS_FILE_VARIABLE {
            continue;
        }
        let name = rest.to_ascii_lowercase().replacen("__", ".", 1);
        let value = Json::String(text.clone());
        let origin = Origin::Environment(variable.clone());
        take(&name, &value, origin, Spelling::Text, given, errors);
    }
}

/// Reads options given as flags.
pub(super) fn read_overrides(
    overrides: &[Override],
    given: &mut Vec<Given>,
    errors: &mut Vec<LoadError>,
) {
    for Override {
        option,
        flag,
        value,
    } in overrides
    {
        take(
            option,
            value,
            Origin::Flag(flag.clone()),
            Spelling::Text,
            given,
            errors,
        );
    }
}

/// Takes one value: finds its option, reads it as the option's kind, judges it.
fn take(
    name: &str,
    json: &Json,
    origin: Origin,
    spelling: Spelling,
    given: &mut Vec<Given>,
    errors: &mut Vec<LoadError>,
) {
    let Some(row) = find_option(name) else {
        let suggestion = nearest_option(name).map(|option| spell_like(&origin, option));
        let option = name.to_owned();
        return errors.push(LoadError::Unknown {
            option,
            origin,
            suggestion,
        });
    };
    let read = |spelling| {
        read_value(&row.kind, json, spelling).filter(|value| row.kind.accepts(value))
    };
    if let Some(value) = read(spelling) {
        return given.push(Given { row, value, origin });
    }
    let hint = if read(Spelling::Text).is_some() {
        ", without quotes"
    } else {
        ""
    };
    errors.push(LoadError::Refused {
        option: row.name,
        value: shown(json),
        origin,
        allowed: format!("{}{hint}", row.kind.allowed()),
    });
}

/// The name of an option as its source would spell it.
fn spell_like(origin: &Origin, option: &str) -> String {
    match origin {
        Origin::Environment(_) => {
            let name = option.replace('.', "__").to_ascii_uppercase();
            format!("{ENVIRONMENT_PREFIX}{name}")
        }
        _ => option.to_owned(),
    }
}

/// Reads a value as an option's kind, or nothing if it has another shape.
fn read_value(kind: &Kind, json: &Json, spelling: Spelling) -> Option<Value> {
    let text = json.as_str();
    let spelled = text.filter(|_| spelling == Spelling::Text).map(str::trim);
    match kind {
        Kind::Switch => json
            .as_bool()
            .or_else(|| spelled?.to_ascii_lowercase().parse().ok())
            .map(Value::Switch),
        Kind::Whole { .. } | Kind::OneOf(_) => json
            .as_u64()
            .or_else(|| spelled?.parse().ok())
            .map(Value::Whole),
        Kind::Cpus { .. } => json
            .as_f64()
            .or_else(|| spelled?.parse().ok())
            .and_then(|cpus| MilliCpus::try_from(cpus).ok())
            .map(Value::Cpus),
        Kind::Word(words) => words
            .iter()
            .find(|word| text.is_some_and(|text| word.eq_ignore_ascii_case(text)))
            .map(|word| Value::Text((*word).to_owned())),
        Kind::Text(_) => text.map(|text| Value::Text(text.to_owned())),
        Kind::JsonText(_) => match json {
            Json::String(text) => Some(Value::Text(text.clone())),
            Json::Array(_) => Some(Value::Text(json.to_string())),
            _ => None,
        },
        Kind::OptionalText(_) => match json {
            Json::Null => Some(Value::Unset),
            _ => text.map(|text| {
                if text.is_empty() {
                    Value::Unset
                } else {
                    Value::Text(text.to_owned())
                }
            }),
        },
        Kind::List(_) => read_list(json).map(Value::List),
    }
}

/// Reads a list of texts, or one text with commas.
fn read_list(json: &Json) -> Option<Vec<String>> {
    match json {
        Json::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect(),
        Json::String(text) if text.trim().is_empty() => Some(Vec::new()),
        Json::String(text) => {
            Some(text.split(',').map(|item| item.trim().to_owned()).collect())
        }
        _ => None,
    }
}

/// A value as a message shows it, cut where it gets long.
fn shown(json: &Json) -> String {
    /// Enough to recognise a value by.
    const LONGEST: usize = 120;
    let text = json.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}
