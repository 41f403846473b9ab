-- How plugins are doing: which version wrote a line of a log, and the functions in which a guest broke off,
-- the innermost first, as JSON.
ALTER TABLE plugin_log ADD COLUMN plugin_version TEXT COLLATE "C";
ALTER TABLE plugin_log ADD COLUMN backtrace TEXT COLLATE "C";

-- What becomes of saves whose hook fails, where the tenant has decided otherwise than the manifest, as JSON.
ALTER TABLE plugin_enablements ADD COLUMN on_failure TEXT COLLATE "C" NOT NULL DEFAULT '{}';
