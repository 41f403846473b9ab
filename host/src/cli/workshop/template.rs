//! A new plugin's crate, put together from the template's parts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum;

use super::sources;
use crate::domain::grant::Grant;

/// An extension point that a new plugin can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Part {
    /// React to what happens
    Events,
    /// Show something on a record
    Panels,
    /// A button on a record
    Actions,
    /// Work on a schedule
    Jobs,
    /// Check a save before it commits
    Hooks,
    /// REST endpoints for other systems
    Routes,
    /// Score many customers at once
    Scoring,
    /// Steps that workflows are made of
    Steps,
    /// Functions that other plugins call
    Functions,
}

impl Part {
    /// Every one, in the order in which people are asked.
    pub(super) const ALL: [Self; 9] = [
        Self::Events,
        Self::Panels,
        Self::Actions,
        Self::Jobs,
        Self::Hooks,
        Self::Routes,
        Self::Scoring,
        Self::Steps,
        Self::Functions,
    ];

    /// Its name in files and on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Panels => "panels",
            Self::Actions => "actions",
            Self::Jobs => "jobs",
            Self::Hooks => "hooks",
            Self::Routes => "routes",
            Self::Scoring => "scoring",
            Self::Steps => "steps",
            Self::Functions => "functions",
        }
    }

    /// The SDK's trait.
    const fn point(self) -> &'static str {
        match self {
            Self::Events => "Events",
            Self::Panels => "Panels",
            Self::Actions => "Actions",
            Self::Jobs => "Jobs",
            Self::Hooks => "Hooks",
            Self::Routes => "Routes",
            Self::Scoring => "Scoring",
            Self::Steps => "Steps",
            Self::Functions => "Functions",
        }
    }

    /// The grants that its code needs, with the reasons that a tenant reads.
    const fn grants(self) -> &'static [(Grant, &'static str, &'static str)] {
        const DOCUMENTS: (Grant, &str, &str) =
            (Grant::DocumentsOwn, "Keeps a card for each customer.", "为每位客户保存一张卡。");
        const ORDERS: (Grant, &str, &str) = (Grant::OrdersRead, "Counts orders.", "统计订单。");
        match self {
            Self::Events => &[ORDERS, DOCUMENTS],
            Self::Panels | Self::Jobs | Self::Routes | Self::Steps => &[DOCUMENTS],
            Self::Functions => &[
                DOCUMENTS,
                (Grant::PluginsServe, "Tells other plugins what is on a card.", "告诉其他插件卡上的内容。"),
            ],
            Self::Scoring => &[ORDERS],
            Self::Actions => &[
                DOCUMENTS,
                (Grant::TimelineWrite, "Notes the thanks on the timeline.", "在时间线上记录致谢。"),
            ],
            Self::Hooks => &[(Grant::HooksCustomer, "Checks tags before a save.", "保存前检查标签。")],
        }
    }
}

/// A new plugin.
pub(super) struct Template<'a> {
    /// In kebab-case.
    pub(super) name: &'a str,
    pub(super) publisher: &'a str,
    /// At least one, each once.
    pub(super) parts: &'a [Part],
}

impl Template<'_> {
    /// Its files, by their path in the crate.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![
            ("Cargo.toml".to_owned(), self.fill(sources::template("Cargo.toml.in"))),
            ("Cargo.lock".to_owned(), sources::file("Cargo.lock").to_owned()),
            (".gitignore".to_owned(), "/target\n".to_owned()),
            ("README.md".to_owned(), self.fill(sources::template("README.md.in"))),
            ("plugin.toml".to_owned(), self.manifest()),
            ("src/lib.rs".to_owned(), self.library()),
            ("src/card.rs".to_owned(), self.fill(sources::template("src/card.rs"))),
            ("tests/host.rs".to_owned(), self.tests()),
        ];
        for part in self.parts {
            let path = format!("src/{}.rs", part.name());
            let text = self.fill(sources::template(&path));
            files.push((path, text));
        }
        files
    }

    fn manifest(&self) -> String {
        let mut text = self.fill(sources::template("plugin.toml.in"));
        let grants: BTreeMap<&str, (&str, &str)> = self
            .parts
            .iter()
            .flat_map(|part| part.grants())
            .map(|(grant, en, zh)| (grant.as_str(), (*en, *zh)))
            .collect();
        for (name, (en, zh)) in grants {
            let reason = format!("{{ en = {en:?}, zh-CN = {zh:?} }}");
            writeln!(text, "\n[[grants]]\nname = {name:?}\nreason = {reason}")
                .expect("writing to a string cannot fail");
        }
        for part in self.parts {
            text.push('\n');
            text.push_str(sources::template(&format!("parts/{}.toml", part.name())));
        }
        text
    }

    fn library(&self) -> String {
        let mut modules: Vec<&str> = self.parts.iter().map(|part| part.name()).chain(["card"]).collect();
        modules.sort_unstable();
        let modules: String = modules.iter().map(|name| format!("pub mod {name};\n")).collect();
        let points: Vec<&str> = self.parts.iter().map(|part| part.point()).collect();
        self.fill(sources::template("src/lib.rs"))
            .replace("// MODULES\n", &modules)
            .replace("POINTS", &points.join(", "))
    }

    fn tests(&self) -> String {
        let mut text = self.fill(sources::template("tests/host.rs"));
        for part in self.parts {
            text.push('\n');
            text.push_str(&self.fill(sources::template(&format!("tests/{}.rs", part.name()))));
        }
        text
    }

    fn fill(&self, text: &str) -> String {
        text.replace("PLUGIN-NAME", self.name)
            .replace("plugin_crate", &self.name.replace('-', "_"))
            .replace("PluginType", &type_name(self.name))
            .replace("PUBLISHER", self.publisher)
    }
}

/// `coffee-club` as a Rust type: `CoffeeClub`.
fn type_name(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::Manifest;

    #[test]
    fn every_choice_of_parts_makes_a_manifest() {
        for choice in 1_u32..(1 << Part::ALL.len()) {
            let parts: Vec<Part> = Part::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| choice & (1 << bit) != 0)
                .map(|(_, part)| part)
                .collect();
            let template = Template { name: "coffee-club", publisher: "example", parts: &parts };
            let manifest = Manifest::parse(&template.manifest());
            assert!(manifest.is_ok(), "{parts:?}: {:?}", manifest.err());
        }
    }

    #[test]
    fn nothing_of_the_template_is_left_in_a_new_crate() {
        let template = Template { name: "coffee-club", publisher: "example", parts: &Part::ALL };
        for (path, text) in template.files() {
            for mark in ["PLUGIN-NAME", "plugin_crate", "PluginType", "PUBLISHER", "POINTS", "// MODULES"] {
                assert!(!text.contains(mark), "{path} has {mark}");
            }
        }
        assert_eq!(type_name("coffee-club"), "CoffeeClub");
    }
}
