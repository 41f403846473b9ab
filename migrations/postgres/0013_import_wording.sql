-- By what the texts of a row's fault are found in any language: a code with the values that its text names.
-- Without it, a fault is told by its English message.
ALTER TABLE import_errors ADD COLUMN wording TEXT COLLATE "C";
