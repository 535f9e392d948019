//! `secretmount schema`: JSON Schemas for editors.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use crate::lint::schema;
use crate::spec::aws::GRAMMAR;

#[derive(Debug, Args)]
pub struct Options {
    /// What to print the schema of
    which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A whole SecretProviderClass
    Class,
    /// The text of `objects`
    Objects,
}

pub fn run(options: &Options) {
    let schema = match options.which {
        Which::Class => schema::class(&GRAMMAR),
        Which::Objects => schema::text_of(&GRAMMAR, "objects").unwrap_or_default(),
    };
    let _ = writeln!(std::io::stdout().lock(), "{schema:#}");
}
