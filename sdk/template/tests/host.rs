//! The plugin in the production host: its sandbox, its rights, its budgets, its transactions.

use hospes_testkit::json;
