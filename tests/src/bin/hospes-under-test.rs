//! The server as a process that tests may kill: a package cannot see another's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hospes::cli::run(std::env::args_os())
}
