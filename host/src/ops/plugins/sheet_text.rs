//! The install sheet as a text for people, in either language.

use std::fmt::Write as _;

use super::sheet::{InstallSheet, SheetData, SheetField, SheetGrant, SheetNamed};
use crate::domain::actor::Locale;
use crate::domain::code::{Code, RecordKind};
use crate::domain::manifest::{Component, OnFailure, Schedule, Texts, Tier};
use crate::domain::permission::Role;
use crate::domain::sheet_word::SheetWord as W;
use crate::texts;

impl InstallSheet {
    /// The sheet as Markdown in a language.
    #[must_use]
    pub fn to_text(&self, locale: Locale) -> String {
        let words = Words(locale);
        let mut page = Page { words, text: format!("# {} {}\n", self.name, self.version) };
        page.line(&words.say(&W::Publisher { publisher: self.publisher.clone() }));
        page.line(&words.say(&match self.tier {
            Tier::Compiled => W::Compiled,
            Tier::Interpreter => W::Interpreter,
        }));
        page.line(self.description.get(locale));
        page.rights(self);
        page.additions(self);
        page.section(&W::Data, words.data(&self.data).into_iter());
        page.section(&W::License, self.license.iter().cloned());
        let parts = self.sbom.iter().flat_map(|sbom| &sbom.components);
        page.section(&W::Parts, parts.map(part));
        page.text
    }
}

fn part(part: &Component) -> String {
    let Component { name, version, license } = part;
    match license {
        Some(license) => format!("{name} {version} ({license})"),
        None => format!("{name} {version}"),
    }
}

impl Page {
    /// What it may do, and when it is called.
    fn rights(&mut self, sheet: &InstallSheet) {
        let words = self.words;
        self.section(&W::Grants, sheet.grants.iter().map(|grant| words.grant(grant)));
        self.section(&W::Imports, sheet.imports.iter().map(|import| format!("`{import}`")));
        self.section(&W::Exports, sheet.exports.iter().map(|export| format!("`{export}`")));
        self.section(&W::Events, sheet.events.iter().map(|event| format!("`{event}`")));
        let hooks = sheet.hooks.iter().map(|hook| {
            let record = words.kind(hook.entity.as_str());
            words.say(&match hook.on_failure {
                OnFailure::Refuse => W::HookRefuse { record },
                OnFailure::Allow => W::HookAllow { record },
            })
        });
        self.section(&W::Hooks, hooks);
        self.section(&W::Hosts, sheet.hosts.iter().map(|host| format!("`{host}`")));
    }

    /// What people and other systems see of it.
    fn additions(&mut self, sheet: &InstallSheet) {
        let words = self.words;
        let text = |texts: &Texts| texts.get(words.0).to_owned();
        let roles = |roles: &[Role]| roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
        self.section(&W::Fields, sheet.fields.iter().map(|field| words.field(field)));
        let actions = sheet
            .actions
            .iter()
            .map(|action| words.say(&W::Action { title: text(&action.title), roles: roles(&action.roles) }));
        self.section(&W::Actions, actions);
        let panels = sheet
            .panels
            .iter()
            .map(|panel| format!("{} ({})", text(&panel.title), words.kind(panel.slot.as_str())));
        self.section(&W::Panels, panels);
        let routes = sheet.routes.iter().map(|route| {
            let title = format!("`{} {}`: {}", route.method.as_str(), route.path, text(&route.summary));
            words.say(&W::Action { title, roles: roles(&route.roles) })
        });
        self.section(&W::Routes, routes);
        let scoring =
            sheet.scoring.iter().map(|one| format!("{}: {}", text(&one.title), one.columns.join(", ")));
        self.section(&W::Scoring, scoring);
        let named = |one: &SheetNamed| format!("`{}`: {}", one.name, text(&one.title));
        self.section(&W::Steps, sheet.steps.iter().map(named));
        self.section(&W::Functions, sheet.functions.iter().map(named));
        let schedules =
            sheet.schedules.iter().map(|one| format!("`{}`: {}", one.name, words.schedule(&one.schedule)));
        self.section(&W::Schedules, schedules);
    }
}

/// A text that grows.
struct Page {
    words: Words,
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push('\n');
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A heading and a list; one that is empty says so, because that is what a reader looks for.
    fn section(&mut self, heading: &W, items: impl Iterator<Item = String>) {
        self.line(&format!("## {}", self.words.say(heading)));
        let before = self.text.len();
        self.text.push('\n');
        for item in items {
            self.item(&item);
        }
        if self.text.len() == before + 1 {
            self.item(&self.words.say(&W::Nothing));
        }
    }

    fn item(&mut self, item: &str) {
        writeln!(self.text, "- {item}").expect("writing to a string cannot fail");
    }
}

/// The words of a language.
#[derive(Clone, Copy)]
struct Words(Locale);

impl Words {
    fn say(self, word: &impl Code) -> String {
        texts::say(self.0, word)
    }

    /// What a kind of record is called.
    fn kind(self, name: &str) -> String {
        texts::find(self.0, &texts::key(RecordKind::FAMILY, name), &[]).unwrap_or_else(|| name.to_owned())
    }

    fn grant(self, grant: &SheetGrant) -> String {
        let name = grant.grant.name;
        let parameters = &grant.grant.parameters;
        let mut lines = vec![format!("**{}** (`{name}`)", self.say(&name))];
        lines.push(self.say(&W::Reason { reason: grant.reason.get(self.0).to_owned() }));
        let classes: Vec<String> = parameters.classes.iter().map(|class| self.say(class)).collect();
        if !classes.is_empty() {
            lines.push(self.say(&W::Classes { values: classes.join(", ") }));
        }
        let mut list = |names: Vec<String>, word: fn(String) -> W| {
            if !names.is_empty() {
                lines.push(self.say(&word(names.join(", "))));
            }
        };
        list(codes(&parameters.fields), |values| W::SingleFields { values });
        list(codes(&parameters.entities), |values| W::Entities { values });
        list(codes(&parameters.hosts), |values| W::Reaches { values });
        list(codes(&parameters.plugins), |values| W::Plugins { values });
        list(codes(parameters.rate), |values| W::Rate { values });
        list(codes(&grant.opens), |values| W::Opens { values });
        lines.join("\n  ")
    }

    fn field(self, field: &SheetField) -> String {
        let class = self.say(&field.class);
        format!("`{}`: {} ({class})", field.name, field.label.get(self.0))
    }

    fn schedule(self, schedule: &Schedule) -> String {
        match schedule {
            Schedule::Daily(time) => self.say(&W::Daily { time: time.clone() }),
            Schedule::EveryMinutes(minutes) => self.say(&W::EveryMinutes { minutes: minutes.to_string() }),
            Schedule::Cron(expression) => format!("`{expression}`"),
        }
    }

    fn data(self, data: &SheetData) -> Vec<String> {
        let mut kept: Vec<String> = Vec::new();
        for collection in &data.collections {
            let record = self.kind(collection.subject.as_str());
            kept.push(self.say(&W::Collection { name: collection.name.clone(), record }));
        }
        if data.small_values {
            kept.push(self.say(&W::SmallValues));
        }
        if data.files {
            kept.push(self.say(&W::Files));
        }
        if data.timeline_entries {
            kept.push(self.say(&W::TimelineEntries));
        }
        kept
    }
}

/// Each as code.
fn codes<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(|name| format!("`{}`", name.to_string())).collect()
}
