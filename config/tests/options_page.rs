//! Holds `docs/options.md` equal to the option table.
//!
//! The text above the mark is written by hand; everything below is made here.
//! `UPDATE_DOCS=1 cargo test -p etcd-config` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use etcd_config::{OptionRow, Options, Value, option_table};

const END_OF_MARK: &str = "run `UPDATE_DOCS=1 cargo test -p etcd-config`. -->\n";

fn section_title(section: &str) -> &'static str {
    match section {
        "service" => "The service as Mesos and DC/OS see it",
        "node" => "The etcd members and what each gets from its agent",
        "etcd" => "How etcd itself runs",
        "scheduler" => "How the scheduler process runs",
        other => panic!("section {other} needs a title here"),
    }
}

/// The documentation of a field as Markdown: its lines without the space that
/// stands before each in the source.
fn meaning(row: &OptionRow) -> String {
    let lines: Vec<&str> = row.doc.lines().map(str::trim).collect();
    lines.join("\n").trim().to_owned()
}

fn default_of(row: &OptionRow) -> String {
    match (row.value)(&Options::default()) {
        Value::Unset => "not set".to_owned(),
        value => format!("`{value}`"),
    }
}

/// What a change of the option means to a service that runs.
fn change_of(row: &OptionRow) -> String {
    let at_start = if row.change.only_at_start {
        "; when the scheduler is restarted with it"
    } else {
        ""
    };
    format!("{}{at_start}", row.change.class)
}

fn generated() -> String {
    let mut page = String::new();
    let mut last_section = "";
    for row in option_table() {
        let (section, _) = row.name.split_once('.').expect("a dotted name");
        if section != last_section {
            writeln!(page, "\n## `{section}`: {}", section_title(section)).expect("text");
            last_section = section;
        }
        let (name, kind) = (row.name, row.kind.type_name());
        let (allowed, default) = (row.kind.allowed(), default_of(row));
        let change = change_of(row);
        write!(
            page,
            "\n### `{name}`\n\n{}\n\n* default: {default} ({kind})\n* allowed: \
             {allowed}\n* change: {change}\n",
            meaning(row)
        )
        .expect("text");
    }
    page
}

#[test]
fn the_options_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/options.md");
    let page = std::fs::read_to_string(&path).expect("docs/options.md");
    let (by_hand, below) = page.split_once(END_OF_MARK).expect("the mark in the page");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let page = format!("{by_hand}{END_OF_MARK}{}", generated());
        std::fs::write(&path, page).expect("docs/options.md written");
    } else {
        assert!(
            below == generated(),
            "docs/options.md is not what the option table says; run \
             `UPDATE_DOCS=1 cargo test -p etcd-config` and commit the page"
        );
    }
}

#[test]
fn every_option_is_documented_and_its_default_is_allowed() {
    for row in option_table() {
        let text = meaning(row);
        assert!(
            text.ends_with('.') && text.len() > 20,
            "{}: {text:?}",
            row.name
        );
        assert!(!text.contains("TODO"), "{}", row.name);
        let default = (row.value)(&Options::default());
        assert!(row.kind.accepts(&default), "{} = {default}", row.name);
    }
}

#[test]
fn the_table_holds_every_field_once() {
    let defaults = serde_json::to_value(Options::default()).expect("options as JSON");
    let sections = defaults.as_object().expect("sections");
    let mut fields: Vec<String> = sections
        .iter()
        .flat_map(|(section, options)| {
            let options = options.as_object().expect("options of a section");
            options.keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    let mut rows: Vec<String> = option_table().map(|row| row.name.to_owned()).collect();
    fields.sort();
    rows.sort();
    assert_eq!(rows, fields);
}
