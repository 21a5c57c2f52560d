//! The option table: every option once, with its kind, limits and meaning.
//!
//! The macro `section!` declares a section's struct, its defaults and its rows
//! together. A row reads its value back out of [`Options`] as a plain [`Value`],
//! so checks, documentation and `--print-config` need no code for single options.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::changes::ChangeRule;
use crate::{
    DeployStrategy, DiskType, LogFormat, LogLevel, Megabytes, MemberCount, MilliCpus,
    Millis, Options, PlacementConstraints, PluginLabels, Port, Seconds, ServiceName,
};

/// One option: its name, what it takes and what it means.
#[derive(Debug)]
pub struct OptionRow {
    /// The dotted name, like `node.count`.
    pub name: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// The meaning, unit and reasons, as in the documentation of the field.
    pub doc: &'static str,
    /// What a change of it means to a service that runs.
    pub change: ChangeRule,
    /// Reads the option's value out of a configuration.
    pub value: fn(&Options) -> Value,
    /// Takes the option's value over from one configuration into another.
    pub(crate) copy: fn(&Options, &mut Options),
}

/// Which values an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within limits, both included.
    Whole {
        /// The unit in words, or empty for a plain number.
        unit: &'static str,
        /// The smallest that is taken.
        min: u64,
        /// The largest that is taken.
        max: u64,
    },
    /// A number of cpus, to thousandths, within limits, both included.
    Cpus {
        /// The smallest that is taken.
        min: MilliCpus,
        /// The largest that is taken.
        max: MilliCpus,
    },
    /// One of a few whole numbers.
    OneOf(&'static [u64]),
    /// One of a few words, in any case.
    Word(&'static [&'static str]),
    /// A text.
    Text(TextRule),
    /// A text that holds JSON; in an options file the JSON itself will do too.
    JsonText(TextRule),
    /// A text, or nothing. An empty text counts as nothing.
    OptionalText(TextRule),
    /// A list of texts, or one text with commas between the items.
    List(TextRule),
}

/// Which texts an option takes.
#[derive(Clone, Copy, Debug)]
pub struct TextRule {
    /// What is allowed, in words for an operator.
    pub allowed: &'static str,
    /// The type as the documentation names it, like `path`.
    pub type_name: &'static str,
    /// Whether a text is allowed.
    pub accepts: fn(&str) -> bool,
}

impl Kind {
    /// What is allowed, in words for an operator.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Whole { unit: "", min, max } => {
                format!("a whole number from {min} to {max}")
            }
            Self::Whole { unit, min, max } => {
                format!("a whole number of {unit} from {min} to {max}")
            }
            Self::Cpus { min, max } => format!("a number of cpus from {min} to {max}"),
            Self::OneOf(numbers) => {
                one_of(&numbers.iter().map(u64::to_string).collect::<Vec<_>>())
            }
            Self::Word(words) => one_of(words),
            Self::Text(rule) | Self::JsonText(rule) => rule.allowed.to_owned(),
            Self::OptionalText(rule) => format!("{}, or empty", rule.allowed),
            Self::List(rule) => format!("a list, each item {}", rule.allowed),
        }
    }

    /// The type as the documentation names it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Switch => "boolean",
            Self::Whole { .. } | Self::OneOf(_) => "integer",
            Self::Cpus { .. } => "number",
            Self::Word(_) => "string",
            Self::Text(rule) | Self::JsonText(rule) | Self::OptionalText(rule) => {
                rule.type_name
            }
            Self::List(_) => "list",
        }
    }

    /// Whether a value is of this kind and within its limits.
    #[must_use]
    pub fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Switch, Value::Switch(_)) | (Self::OptionalText(_), Value::Unset) => {
                true
            }
            (Self::Whole { min, max, .. }, Value::Whole(number)) => {
                (min..=max).contains(&number)
            }
            (Self::Cpus { min, max }, Value::Cpus(amount)) => {
                (min..=max).contains(&amount)
            }
            (Self::OneOf(numbers), Value::Whole(number)) => numbers.contains(number),
            (Self::Word(words), Value::Text(text)) => words.contains(&text.as_str()),
            (
                Self::Text(rule) | Self::JsonText(rule) | Self::OptionalText(rule),
                Value::Text(text),
            ) => (rule.accepts)(text),
            (Self::List(rule), Value::List(items)) => {
                items.iter().all(|item| (rule.accepts)(item))
            }
            _ => false,
        }
    }
}

/// Words as a sentence has them: `a, b or c`.
fn one_of<Word: AsRef<str>>(words: &[Word]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => {
            format!("{} or {last}", rest.join(", "))
        }
        _ => words.concat(),
    }
}

/// An option's value without its type: what checks, lists and pages need.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An optional value that is not given.
    Unset,
    /// Yes or no.
    Switch(bool),
    /// A whole number, in the unit of its option.
    Whole(u64),
    /// An amount of processor time.
    Cpus(MilliCpus),
    /// A text or a word.
    Text(String),
    /// Several texts.
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// Writes the value as an options file would hold it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => out.write_str("null"),
            Self::Switch(value) => value.fmt(out),
            Self::Whole(value) => value.fmt(out),
            Self::Cpus(value) => value.fmt(out),
            Self::Text(value) => write!(out, "{value:?}"),
            Self::List(value) => write!(out, "{value:?}"),
        }
    }
}

/// A type that a field of [`Options`] may have.
pub(crate) trait OptionValue {
    fn to_value(&self) -> Value;
}

/// Implements [`OptionValue`] for types by one expression each.
macro_rules! option_values {
    ($($Type:ty: $this:ident => $value:expr;)*) => {
        $(impl OptionValue for $Type {
            fn to_value(&self) -> Value {
                let $this = self;
                $value
            }
        })*
    };
}

option_values! {
    bool: value => Value::Switch(*value);
    u64: value => Value::Whole(*value);
    Megabytes: value => Value::Whole(value.0);
    Millis: value => Value::Whole(value.0);
    Seconds: value => Value::Whole(value.0);
    MemberCount: value => Value::Whole(value.get());
    Port: value => Value::Whole(u64::from(value.0));
    MilliCpus: value => Value::Cpus(*value);
    String: value => Value::Text(value.clone());
    ServiceName: value => Value::Text(value.to_string());
    PlacementConstraints: value => Value::Text(value.to_string());
    PluginLabels: value => Value::Text(value.to_string());
    LogLevel: value => Value::Text(value.to_string());
    LogFormat: value => Value::Text(value.to_string());
    DeployStrategy: value => Value::Text(value.to_string());
    DiskType: value => Value::Text(value.to_string());
    SocketAddr: value => Value::Text(value.to_string());
    PathBuf: value => Value::Text(value.display().to_string());
    Vec<String>: value => Value::List(value.clone());
}

impl<Inner: OptionValue> OptionValue for Option<Inner> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Unset, OptionValue::to_value)
    }
}

/// Declares one section of options: its struct, its defaults and its rows of the
/// option table, so that the three cannot drift apart. Each field is written as
/// `name: type = default, kind, rule of change;` below its documentation: without
/// any of them it does not compile.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $Section:ident in $section:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident: $Type:ty = $default:expr, $kind:expr, $change:expr;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Section {
            $( $(#[doc = $doc])+ pub $key: $Type, )+
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $( $key: $default, )+ }
            }
        }

        impl $Section {
            pub(crate) const ROWS: &[$crate::OptionRow] = &[$(
                $crate::OptionRow {
                    name: concat!(stringify!($section), ".", stringify!($key)),
                    kind: $kind,
                    doc: concat!($($doc, "\n"),+),
                    change: $change,
                    value: |options| {
                        $crate::table::OptionValue::to_value(&options.$section.$key)
                    },
                    copy: |from, to| {
                        to.$section.$key.clone_from(&from.$section.$key);
                    },
                },
            )+];
        }
    };
}
pub(crate) use section;

/// Every option, section by section, in the order of the documentation.
pub fn option_table() -> impl Iterator<Item = &'static OptionRow> {
    use crate::{EtcdOptions, NodeOptions, SchedulerOptions, ServiceOptions};
    [
        ServiceOptions::ROWS,
        NodeOptions::ROWS,
        EtcdOptions::ROWS,
        SchedulerOptions::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// The row of an option by its dotted name.
#[must_use]
pub fn find_option(name: &str) -> Option<&'static OptionRow> {
    option_table().find(|row| row.name == name)
}
