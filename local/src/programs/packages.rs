//! What the machine must have before Mesos can be built and run, by Debian package.

use std::path::Path;
use std::process::{Command, Stdio};

/// A Debian package and how to see that what we need of it is there.
struct Need {
    package: &'static str,
    sign: Sign,
}

enum Sign {
    Program(&'static str),
    SharedLibrary(&'static str),
    PythonModules(&'static str),
}

const NEEDS: [Need; 7] = [
    Need {
        package: "g++",
        sign: Sign::Program("g++"),
    },
    Need {
        package: "gcc",
        sign: Sign::Program("gcc"),
    },
    Need {
        package: "binutils",
        sign: Sign::Program("readelf"),
    },
    Need {
        package: "python3-venv",
        sign: Sign::PythonModules("venv, ensurepip"),
    },
    Need {
        package: "libsvn1",
        sign: Sign::SharedLibrary("libsvn_delta-1.so.1"),
    },
    Need {
        package: "libsasl2-2",
        sign: Sign::SharedLibrary("libsasl2.so.2"),
    },
    Need {
        package: "libapr1",
        sign: Sign::SharedLibrary("libapr-1.so.0"),
    },
];

/// Where Debian and most other distributions keep shared libraries on x86-64.
const LIBRARY_DIRECTORIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    "/usr/lib64",
    "/usr/lib",
];

/// The Debian packages that are still to be installed before [`super::ensure`] can
/// build; empty when all is there.
pub fn missing_packages() -> Vec<&'static str> {
    let missing = NEEDS.iter().filter(|need| !need.is_met());
    missing.map(|need| need.package).collect()
}

impl Need {
    fn is_met(&self) -> bool {
        match self.sign {
            Sign::Program(name) => is_on_path(name),
            Sign::SharedLibrary(soname) => LIBRARY_DIRECTORIES
                .iter()
                .any(|d| Path::new(d).join(soname).exists()),
            // Debian's python3 comes without what `python3 -m venv` needs.
            Sign::PythonModules(modules) => Command::new("python3")
                .args(["-c", &format!("import {modules}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}
