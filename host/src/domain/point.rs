//! Extension points: where the host calls a plugin.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// An extension point, which is an exported interface of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Point {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Point {
            /// Every one, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name of the interface, in manifests and messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

points! {
    /// Enable, disable, migrate.
    Lifecycle = "lifecycle",
    /// What has happened.
    Events = "events",
    /// Before a save.
    Hooks = "hooks",
    /// Buttons on a record.
    Actions = "actions",
    /// What is shown of a record.
    Panels = "panels",
    /// Work on a schedule.
    Jobs = "jobs",
    /// Scores of many records.
    Scoring = "scoring",
    /// REST endpoints.
    Routes = "routes",
    /// Types of workflow steps.
    Steps = "steps",
    /// What other plugins may call.
    Functions = "functions",
}

impl Point {
    /// Whether a plugin may write here at all. A route of the method `GET` and a
    /// function that one of these has called may not either.
    #[must_use]
    pub const fn may_write(self) -> bool {
        !matches!(self, Self::Hooks | Self::Panels | Self::Scoring)
    }

    /// Whether the host sends requests to others for a plugin here. What only looks, or holds up
    /// a save, may not: a request cannot be undone, and others' servers take their time.
    #[must_use]
    pub const fn may_send(self) -> bool {
        self.may_write()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
