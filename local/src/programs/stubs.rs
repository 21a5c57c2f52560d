//! Stand-ins for the OpenSSL 1.0 and curl libraries that the Mesos library was
//! linked with and that no current Debian has.
//!
//! Nothing in a master or agent without TLS calls them, but the loader wants to see
//! libraries of those names with the symbol *versions* that the library asks for. So
//! each stub has all functions asked for, and each function ends the program by name.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A symbol that a library needs from another, `SSL_new@OPENSSL_1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VersionedSymbol {
    name: String,
    version: String,
}

/// One stub library to make.
pub(super) struct StubLibrary {
    /// Its file name, and the name by which the loader looks for it.
    pub(super) soname: &'static str,
    versions: &'static [&'static str],
    holds: fn(&VersionedSymbol) -> bool,
}

/// The stubs that the Mesos library of 1.11.0 needs.
pub(super) const STUB_LIBRARIES: [StubLibrary; 3] = [
    StubLibrary {
        soname: "libssl.so.1.0.0",
        versions: &["OPENSSL_1.0.0", "OPENSSL_1.0.1", "OPENSSL_1.0.2"],
        holds: |symbol| symbol.version.starts_with("OPENSSL") && is_of_libssl(symbol),
    },
    StubLibrary {
        soname: "libcrypto.so.1.0.0",
        versions: &["OPENSSL_1.0.0", "OPENSSL_1.0.2"],
        holds: |symbol| symbol.version.starts_with("OPENSSL") && !is_of_libssl(symbol),
    },
    StubLibrary {
        soname: "libcurl.so.4",
        versions: &["CURL_OPENSSL_3"],
        holds: |symbol| symbol.version.starts_with("CURL"),
    },
];

/// OpenSSL's two libraries share their version names; the prefix tells them apart.
fn is_of_libssl(symbol: &VersionedSymbol) -> bool {
    symbol.name.starts_with("SSL") || symbol.name.starts_with("TLS")
}

/// Reads the undefined versioned symbols out of `readelf -W --dyn-syms`.
pub(super) fn undefined_symbols(readelf: &str) -> BTreeSet<VersionedSymbol> {
    // Columns: number, value, size, type, binding, visibility, section, name@version.
    const SECTION: usize = 6;
    readelf
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace().skip(SECTION);
            if columns.next()? != "UND" {
                return None;
            }
            let (name, version) = columns.next()?.split_once('@')?;
            Some(VersionedSymbol {
                name: name.to_owned(),
                version: version.to_owned(),
            })
        })
        .collect()
}

impl StubLibrary {
    /// The C source of the stub.
    pub(super) fn source(&self, symbols: &BTreeSet<VersionedSymbol>) -> String {
        let mut source = String::from(
            "#include <stdio.h>\n#include <stdlib.h>\n\
             #define STUB(f) void f(void) \
             { fputs(\"stub \" #f \" was called\\n\", stderr); abort(); }\n",
        );
        let names: BTreeSet<&str> = symbols
            .iter()
            .filter(|s| (self.holds)(s))
            .map(|s| s.name.as_str())
            .collect();
        for name in names {
            let _ = writeln!(source, "STUB({name})");
        }
        source
    }

    /// The linker's version script: which function has which version.
    pub(super) fn version_script(&self, symbols: &BTreeSet<VersionedSymbol>) -> String {
        let mut script = String::new();
        for version in self.versions {
            let names: Vec<&str> = symbols
                .iter()
                .filter(|s| (self.holds)(s) && s.version == *version)
                .map(|s| s.name.as_str())
                .collect();
            let _ = writeln!(script, "{version} {{");
            if !names.is_empty() {
                let _ = writeln!(script, "global: {};", names.join("; "));
            }
            script.push_str("};\n");
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READELF: &str = "\
Symbol table '.dynsym' contains 3 entries:
   Num:    Value          Size Type    Bind   Vis      Ndx Name
     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND
     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND SSL_new@OPENSSL_1.0.0 (9)
     2: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND BIO_new@OPENSSL_1.0.0 (8)
     3: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND curl_easy_init@CURL_OPENSSL_3 (7)
     4: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND PyErr_Print
     5: 00000000021a34f0    12 FUNC    GLOBAL DEFAULT   12 SSL_mine@@OPENSSL_1.0.0
";

    fn check(soname: &str, functions: &str, script: &str) {
        let symbols = undefined_symbols(READELF);
        let stub = STUB_LIBRARIES.iter().find(|s| s.soname == soname).unwrap();
        let source = stub.source(&symbols);
        let found: Vec<&str> =
            source.lines().filter(|l| l.starts_with("STUB(")).collect();
        assert_eq!(found.join(" "), functions);
        assert_eq!(
            stub.version_script(&symbols).replace('\n', " ").trim_end(),
            script
        );
    }

    #[test]
    fn each_stub_holds_the_functions_of_its_library() {
        check(
            "libssl.so.1.0.0",
            "STUB(SSL_new)",
            "OPENSSL_1.0.0 { global: SSL_new; }; OPENSSL_1.0.1 { }; OPENSSL_1.0.2 { };",
        );
        check(
            "libcrypto.so.1.0.0",
            "STUB(BIO_new)",
            "OPENSSL_1.0.0 { global: BIO_new; }; OPENSSL_1.0.2 { };",
        );
        check(
            "libcurl.so.4",
            "STUB(curl_easy_init)",
            "CURL_OPENSSL_3 { global: curl_easy_init; };",
        );
    }

    #[test]
    fn symbols_that_are_defined_or_without_version_are_left_alone() {
        assert_eq!(undefined_symbols(READELF).len(), 3);
    }
}
