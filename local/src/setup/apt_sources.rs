//! Where Debian is, read from the machine's own apt sources: both the one-line form
//! (`sources.list`) and the deb822 form (`*.sources`), see sources.list(5).
//!
//! Machines have sources of many owners. Taken here is what looks like Debian by suite
//! and component; what the archive says of itself is checked after its index came.

use std::fs;
use std::path::{Path, PathBuf};

/// A Debian archive that this machine uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DebianArchive {
    /// Its URI in apt's words, which may be of any of apt's kinds.
    pub(super) uri: String,
    /// The suite that the machine takes from it, "bookworm".
    pub(super) suite: String,
    /// Who must have signed it.
    pub(super) signed_by: SignedBy,
}

/// Whose signature apt demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignedBy {
    /// Any key that the machine trusts for all archives.
    AnyTrusted,
    /// The keys in these files, or of these fingerprints, separated by commas.
    Keys(String),
    /// A key that stands in the sources file itself.
    InlineKey(String),
}

/// The names of Debian's suites. Suites such as `bookworm-security` live in archives
/// of their own, which have no other suite.
const SUITES: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

const APT_DIRECTORY: &str = "/etc/apt";

/// The archives in this machine's sources, each once, in apt's order. Files that
/// cannot be read are left out: apt complains of them, and another may do.
pub(super) fn machines_archives() -> Vec<DebianArchive> {
    let mut archives: Vec<DebianArchive> = Vec::new();
    for file in source_files(Path::new(APT_DIRECTORY)) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let found = match file.extension().is_some_and(|kind| kind == "sources") {
            true => in_deb822(&text),
            false => in_one_line_form(&text),
        };
        for archive in found {
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    archives
}

fn source_files(apt_directory: &Path) -> Vec<PathBuf> {
    let parts = fs::read_dir(apt_directory.join("sources.list.d"));
    let mut files: Vec<PathBuf> = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "list" || kind == "sources")
        })
        .collect();
    files.sort();
    files.insert(0, apt_directory.join("sources.list"));
    files
}

/// `deb [signed-by=/key.gpg arch=amd64] uri suite component...`
fn in_one_line_form(text: &str) -> Vec<DebianArchive> {
    text.lines().filter_map(archive_of_line).collect()
}

fn archive_of_line(line: &str) -> Option<DebianArchive> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .map_or(SignedBy::AnyTrusted, |keys| SignedBy::Keys(keys.to_owned()));
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suite = words.next()?.to_owned();
    let is_debian = SUITES.contains(&suite.as_str()) && words.any(|word| word == "main");
    is_debian.then_some(DebianArchive {
        uri,
        suite,
        signed_by,
    })
}

/// Paragraphs of `Field: value`, where a line that begins with space goes on with the
/// value of the line before.
fn in_deb822(text: &str) -> Vec<DebianArchive> {
    let mut archives = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            archives.extend(archives_of_paragraph(&paragraph));
            paragraph.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((field, value)) = line.split_once(':') {
            paragraph.push((field.to_lowercase(), value.trim().to_owned()));
        }
    }
    archives
}

fn archives_of_paragraph(paragraph: &[(String, String)]) -> Vec<DebianArchive> {
    let value = |wanted: &str| {
        let field = paragraph.iter().find(|(field, _)| field == wanted);
        field.map_or("", |(_, value)| value.as_str())
    };
    let has =
        |field: &str, word: &str| value(field).split_whitespace().any(|w| w == word);
    let is_off = matches!(
        value("enabled").to_lowercase().as_str(),
        "no" | "false" | "0"
    );
    if is_off || !has("types", "deb") || !has("components", "main") {
        return Vec::new();
    }
    let mut suites = value("suites").split_whitespace();
    let Some(suite) = suites.find(|suite| SUITES.contains(suite)) else {
        return Vec::new();
    };
    let uris = value("uris").split_whitespace();
    uris.map(|uri| DebianArchive {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        signed_by: signed_by(value("signed-by")),
    })
    .collect()
}

fn signed_by(value: &str) -> SignedBy {
    if value.is_empty() {
        return SignedBy::AnyTrusted;
    }
    if value.contains("BEGIN PGP PUBLIC KEY BLOCK") {
        // A line with a dot stands for an empty one.
        let lines = value
            .lines()
            .map(|line| if line == "." { "" } else { line });
        let key: String = lines.flat_map(|line| [line, "\n"]).collect();
        return SignedBy::InlineKey(key.trim_start().to_owned());
    }
    let keys: Vec<&str> = value
        .split([' ', ',', '\n'])
        .filter(|k| !k.is_empty())
        .collect();
    SignedBy::Keys(keys.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(archives: &[DebianArchive]) -> String {
        let shown: Vec<String> = archives
            .iter()
            .map(|a| format!("{} {} {:?}", a.uri, a.suite, a.signed_by))
            .collect();
        shown.join("; ")
    }

    #[test]
    fn one_line_sources() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            assert_eq!(shown(&in_one_line_form(line)), expected, "{line}");
        }
        check(
            "deb http://mirror.example/debian bookworm main contrib",
            "http://mirror.example/debian bookworm AnyTrusted",
        );
        check(
            "deb [ arch=amd64 signed-by=/k/debian.gpg ] http://m/debian sid main # ours",
            r#"http://m/debian sid Keys("/k/debian.gpg")"#,
        );
        check(
            "deb [signed-by=/k.gpg] mirror+file:/etc/apt/mirrors/debian.list trixie main",
            r#"mirror+file:/etc/apt/mirrors/debian.list trixie Keys("/k.gpg")"#,
        );
        check("deb-src http://m/debian bookworm main", "");
        check("# deb http://m/debian bookworm main", "");
        check("deb http://m/debian-security bookworm-security main", "");
        check("deb http://vendor.example/apt cloud-sdk-bookworm main", "");
        check("deb http://vendor.example/linux/debian bookworm stable", "");
        check("deb http://m/debian", "");
        check("", "");
    }

    #[test]
    fn deb822_sources() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(shown(&in_deb822(text)), expected, "{text}");
        }
        check(
            "Types: deb\n# where it was taken\nURIs: http://m/debian\n\
             Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
             Types: deb\nURIs: http://m/debian-security\nSuites: bookworm-security\n\
             Components: main\nSigned-By: /k.gpg\n",
            r#"http://m/debian bookworm Keys("/k.gpg")"#,
        );
        check(
            "types: deb deb-src\nuris: http://a/debian\n http://b/debian\n\
             suites: trixie\ncomponents: main\n",
            "http://a/debian trixie AnyTrusted; http://b/debian trixie AnyTrusted",
        );
        check(
            "Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main",
            "",
        );
        check(
            "Types: deb\nURIs: http://vendor.example/x\nSuites: nodistro\nComponents: main",
            "",
        );
        check(
            "Types: deb\nURIs: http://m/debian\nSuites: sid\nComponents: main\nSigned-By:\n \
             -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY \
             BLOCK-----\n",
            r#"http://m/debian sid InlineKey("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEY\n-----END PGP PUBLIC KEY BLOCK-----\n")"#,
        );
    }
}
