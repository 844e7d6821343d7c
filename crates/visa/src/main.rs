//! The `visa` binary: one file a subcommand.
fn main() {}
