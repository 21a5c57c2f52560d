//! How the program was called: by itself, or by the `dcos` command line, which
//! puts the name of the subcommand before all arguments.

use std::ffi::OsString;
use std::path::Path;

/// What file names of subcommands begin with, for DC/OS' command line to find them.
const FILE_PREFIX: &str = "dcos-";

/// The subcommand's name unless it was installed under another one.
const USUAL_MODULE: &str = "etcd";

/// Packages that are not released yet have this before their names; their
/// services have not.
const BETA_PREFIX: &str = "beta-";

/// What `dcos help` shows; DC/OS' command line asks for it with `--info`.
const INFO: &str = "Looks after an etcd service: plans, pods, members, events";

/// The settings of `dcos config` that are ours, as a JSON schema. DC/OS' command
/// line asks for it with `--config-schema`.
const CONFIG_SCHEMA: &str = r#"{"$schema":"http://json-schema.org/schema#","additionalProperties":false,"properties":{"service_name":{"title":"Service name","type":"string"}},"type":"object"}"#;

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The subcommand's name, if `dcos` called.
    pub(crate) module: Option<String>,
    /// What follows the program's (and the subcommand's) name.
    pub(crate) arguments: Vec<OsString>,
}

impl Call {
    /// Understands the arguments of the process, the program's own path first.
    ///
    /// DC/OS' clients name a subcommand after its file, so only that name, or the
    /// usual one, is taken for one: a mistyped command stays a mistyped command.
    pub(crate) fn new(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_default();
        let mut arguments: Vec<OsString> = arguments.collect();
        let file = Path::new(&program).file_name().unwrap_or_default();
        let own = file
            .to_str()
            .and_then(|name| name.strip_prefix(FILE_PREFIX))
            .unwrap_or(USUAL_MODULE);
        let module = arguments
            .first()
            .and_then(|first| first.to_str())
            .filter(|first| *first == own || *first == USUAL_MODULE)
            .map(str::to_owned);
        if module.is_some() {
            arguments.remove(0);
        }
        Call { module, arguments }
    }

    /// What the user typed to get here.
    pub(crate) fn typed(&self) -> String {
        match &self.module {
            Some(module) => format!("dcos {module}"),
            None => format!("{FILE_PREFIX}{USUAL_MODULE}"),
        }
    }

    /// The service that is meant when none is named.
    pub(crate) fn usual_service(&self) -> &str {
        let module = self.module.as_deref().unwrap_or(USUAL_MODULE);
        module.strip_prefix(BETA_PREFIX).unwrap_or(module)
    }

    /// The variable by which `dcos config set etcd.service_name` reaches us.
    pub(crate) fn service_name_variable(&self) -> String {
        let module = self.module.as_deref().unwrap_or(USUAL_MODULE);
        let section = module.to_uppercase().replace('-', "_");
        format!("DCOS_{section}_SERVICE_NAME")
    }

    /// The answer to what DC/OS' command line asks of every subcommand, which
    /// needs no cluster.
    pub(crate) fn self_description(&self) -> Option<&'static str> {
        let [only] = self.arguments.as_slice() else {
            return None;
        };
        match only.to_str()? {
            "--info" => Some(INFO),
            "--config-schema" => Some(CONFIG_SCHEMA),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(typed: &str) -> Call {
        Call::new(typed.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_name_of_the_subcommand_is_no_command() {
        #[track_caller]
        fn check(typed: &str, module: Option<&str>, arguments: &str, service: &str) {
            let call = call(typed);
            let joined = call.arguments.join(std::ffi::OsStr::new(" "));
            assert_eq!(call.module.as_deref(), module, "{typed}");
            assert_eq!(joined, arguments, "{typed}");
            assert_eq!(call.usual_service(), service, "{typed}");
        }
        check("/bin/dcos-etcd plan list", None, "plan list", "etcd");
        check(
            "dcos-etcd etcd plan list",
            Some("etcd"),
            "plan list",
            "etcd",
        );
        check("/x/dcos-beta-etcd beta-etcd", Some("beta-etcd"), "", "etcd");
        check(
            "/x/dcos-etcd-dev etcd-dev pod",
            Some("etcd-dev"),
            "pod",
            "etcd-dev",
        );
        check("renamed etcd pod list", Some("etcd"), "pod list", "etcd");
        check("dcos-etcd plna list", None, "plna list", "etcd");
        check("dcos-etcd etcd etcd", Some("etcd"), "etcd", "etcd");
        check("dcos-etcd", None, "", "etcd");
        check("", None, "", "etcd");
    }

    #[test]
    fn settings_of_dcos() {
        let name = |typed| call(typed).service_name_variable();
        assert_eq!(name("dcos-etcd"), "DCOS_ETCD_SERVICE_NAME");
        assert_eq!(
            name("dcos-beta-etcd beta-etcd"),
            "DCOS_BETA_ETCD_SERVICE_NAME"
        );
    }

    #[test]
    fn it_describes_itself() {
        assert_eq!(call("dcos-etcd etcd --info").self_description(), Some(INFO));
        let schema = call("dcos-etcd etcd --config-schema").self_description();
        serde_json::from_str::<serde_json::Value>(schema.unwrap()).unwrap();
        assert_eq!(call("dcos-etcd etcd plan --info").self_description(), None);
    }
}
