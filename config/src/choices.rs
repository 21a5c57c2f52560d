//! Options that take one of a few words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are fixed words, spelled one way everywhere:
/// in options files, on the screen and in the table of allowed values.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $Name:ident { $( $(#[$variant_meta:meta])* $Variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum $Name {
            $( $(#[$variant_meta])* #[serde(rename = $word)] $Variant, )+
        }

        impl $Name {
            /// Every word that is taken, in the order of the documentation.
            pub const WORDS: &[&'static str] = &[$($word),+];

            /// The word for this choice.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

choice! {
    /// How much is logged. The words are those of the original package, whose
    /// scheduler wrote through Java's log4j.
    LogLevel {
        /// Nothing.
        Off = "OFF",
        /// Here the same as `ERROR`: what is fatal ends the process and says why.
        Fatal = "FATAL",
        /// What needs an operator.
        Error = "ERROR",
        /// What may need one soon.
        Warn = "WARN",
        /// What changed.
        Info = "INFO",
        /// Why it changed.
        Debug = "DEBUG",
        /// Every message.
        Trace = "TRACE",
        /// The same as `TRACE`.
        All = "ALL",
    }
}

impl LogLevel {
    /// The level in the words that Rust's `tracing` filters understand.
    #[must_use]
    pub const fn tracing_filter(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Fatal | Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace | Self::All => "trace",
        }
    }
}

choice! {
    /// In which order members are brought up, or a change goes through them. The
    /// words are those of the DC/OS SDK.
    DeployStrategy {
        /// All found the cluster together.
        Parallel = "parallel",
        /// One founds the cluster, and it grows member by member.
        Serial = "serial",
        /// As `serial`; an operator approves the first member, and then the rest.
        SerialCanary = "serial-canary",
        /// As `serial-canary`, with places for the rest chosen at once.
        ParallelCanary = "parallel-canary",
    }
}

impl DeployStrategy {
    /// Whether an operator approves the first member, and then the rest.
    #[must_use]
    pub const fn has_canary(self) -> bool {
        matches!(self, Self::SerialCanary | Self::ParallelCanary)
    }

    /// Whether a member waits until the one before is well.
    #[must_use]
    pub const fn is_serial(self) -> bool {
        matches!(self, Self::Serial | Self::SerialCanary)
    }
}

impl Default for DeployStrategy {
    /// As the original package has it.
    fn default() -> Self {
        Self::Parallel
    }
}

choice! {
    /// Where a member's persistent volume lies.
    DiskType {
        /// On the agent's shared disk.
        Root = "ROOT",
        /// On a part of a disk that the agent offers beside its shared one.
        Path = "PATH",
        /// On a whole disk of its own, which the agent offers as one piece.
        Mount = "MOUNT",
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// For machines: one JSON object a line.
        Json = "json",
    }
}
