//! The words of an install sheet, as codes of texts.

use super::code::codes;

codes! {
    /// A heading or a phrase of an install sheet.
    SheetWord in "sheet" {
        Publisher { publisher } = "publisher",
        Compiled = "compiled",
        Interpreter = "interpreter",
        Grants = "grants",
        Reason { reason } = "reason",
        Classes { values } = "classes",
        SingleFields { values } = "single_fields",
        Entities { values } = "entities",
        Reaches { values } = "reaches",
        Plugins { values } = "plugins",
        Rate { values } = "rate",
        Opens { values } = "opens",
        Imports = "imports",
        Exports = "exports",
        Events = "events",
        Hooks = "hooks",
        HookRefuse { record } = "hook_refuse",
        HookAllow { record } = "hook_allow",
        Hosts = "hosts",
        Fields = "fields",
        Actions = "actions",
        Action { title, roles } = "action",
        Panels = "panels",
        Routes = "routes",
        Scoring = "scoring",
        Steps = "steps",
        Functions = "functions",
        Schedules = "schedules",
        Daily { time } = "daily",
        EveryMinutes { minutes } = "every_minutes",
        Data = "data",
        Collection { name, record } = "collection",
        SmallValues = "small_values",
        Files = "files",
        TimelineEntries = "timeline_entries",
        License = "license",
        Parts = "parts",
        Nothing = "nothing",
    }
}
