//! Options that somebody gave, apart from the defaults: what a later change is
//! merged onto.

use std::collections::BTreeSet;

use figment::Figment;
use figment::providers::Serialized;
use serde_json::{Map, Value as Json};

use crate::load::{LoadError, LoadErrors, Loaded, Origin, layers};
use crate::{OptionRow, Options, Value, option_table};

/// Some options with their values. Each value is good by itself; whether they go
/// together is judged on the whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenOptions {
    /// The values of those that were given; all others are at their defaults.
    options: Options,
    /// The names of those that were given.
    names: BTreeSet<&'static str>,
}

impl GivenOptions {
    /// Reads options from the text of a JSON document in the form of an options
    /// file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in it.
    pub fn parse(text: &[u8], origin: &Origin) -> Result<Self, LoadErrors> {
        let (mut given, mut errors) = (Vec::new(), Vec::new());
        layers::read_json(text, origin, &mut given, &mut errors);
        if !errors.is_empty() {
            return Err(LoadErrors(errors));
        }
        let names = given.iter().map(layers::Given::name).collect();
        let defaults = Figment::from(Serialized::defaults(Options::default()));
        let options = given.into_iter().fold(defaults, Figment::merge);
        match options.extract() {
            Ok(options) => Ok(GivenOptions { options, names }),
            Err(error) => Err(LoadErrors(vec![LoadError::NotMerged(error.to_string())])),
        }
    }

    /// What was given for a configuration, wherever.
    #[must_use]
    pub fn of(loaded: &Loaded) -> Self {
        let given = loaded
            .provenance
            .iter()
            .filter(|(_, origin)| **origin != Origin::Default);
        GivenOptions {
            options: loaded.options.clone(),
            names: given.map(|(name, _)| *name).collect(),
        }
        .only(|_| true)
    }

    /// What must have been given for a configuration, where nobody has noted it:
    /// whatever is not at its default.
    #[must_use]
    pub fn beside_defaults(options: &Options) -> Self {
        let defaults = Options::default();
        let names = option_table()
            .filter(|row| (row.value)(options) != (row.value)(&defaults))
            .map(|row| row.name)
            .collect();
        let options = options.clone();
        GivenOptions { options, names }
    }

    /// Those of the given options that are wanted.
    #[must_use]
    pub fn only(&self, which: impl Fn(&OptionRow) -> bool) -> Self {
        let names: BTreeSet<&'static str> = self
            .rows()
            .filter(|row| which(row))
            .map(|row| row.name)
            .collect();
        let taken = |row: &OptionRow| names.contains(row.name);
        let options = Options::default().with(&self.options, taken);
        GivenOptions { options, names }
    }

    /// Merged onto others: where both give an option, these count.
    #[must_use]
    pub fn onto(&self, base: &GivenOptions) -> Self {
        GivenOptions {
            options: self.applied_to(&base.options),
            names: base.names.union(&self.names).copied().collect(),
        }
    }

    /// A configuration with these options changed.
    #[must_use]
    pub fn applied_to(&self, options: &Options) -> Options {
        options.with(&self.options, |row| self.names.contains(row.name))
    }

    /// The rows of the options that were given.
    pub fn rows(&self) -> impl Iterator<Item = &'static OptionRow> {
        option_table().filter(|row| self.names.contains(row.name))
    }

    /// As an options file holds them.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut sections = Map::new();
        for row in self.rows() {
            let Some((section, key)) = row.name.split_once('.') else {
                continue;
            };
            let section = sections
                .entry(section)
                .or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(section) = section {
                section.insert(key.to_owned(), (row.value)(&self.options).to_json());
            }
        }
        Json::Object(sections)
    }
}

impl Value {
    /// The value as an options file holds it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Unset => Json::Null,
            Self::Switch(value) => (*value).into(),
            Self::Whole(value) => (*value).into(),
            Self::Cpus(value) => value.cpus().into(),
            Self::Text(value) => value.as_str().into(),
            Self::List(value) => value.as_slice().into(),
        }
    }
}
