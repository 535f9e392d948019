//! Which settings are not as by default, and where each comes from: for whoever looks at the log of a node.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// The settings that differ from their defaults, in the order of `--help`, each with where it comes from.
pub fn given(command: &Command, matches: &ArgMatches) -> String {
    let (command, matches) = match matches.subcommand() {
        Some((name, of_it)) => (command.find_subcommand(name).unwrap_or(command), of_it),
        None => (command, matches),
    };
    command.get_arguments().filter_map(|argument| told(argument, matches)).collect::<Vec<_>>().join(", ")
}

fn told(argument: &Arg, matches: &ArgMatches) -> Option<String> {
    let (id, flag) = (argument.get_id().as_str(), argument.get_long()?);
    let source = match matches.value_source(id)? {
        ValueSource::CommandLine => "flag",
        ValueSource::EnvVariable => argument.get_env()?.to_str()?,
        _ => return None,
    };
    let values: Vec<String> =
        matches.try_get_raw(id).ok()??.map(|value| value.to_string_lossy().into_owned()).collect();
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let differs = !defaults.eq(values.iter().map(String::as_str));
    differs.then(|| format!("--{flag}={} ({source})", values.join(",")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    fn of(arguments: &[&str]) -> String {
        let command = Cli::command();
        let matches = command.clone().try_get_matches_from([&["secretmount"], arguments].concat()).expect("taken");
        given(&command, &matches)
    }

    #[test]
    fn what_differs_from_the_default_is_told_with_its_source() {
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["--max-age=60s"]), "", "that is the default");
        let expected = "--driver-writes-secrets=true (flag), --max-age=5s (flag)";
        assert_eq!(of(&["--max-age=5s", "--driver-writes-secrets"]), expected);
        assert_eq!(of(&["serve", "--max-age=5s", "--driver-writes-secrets"]), expected);
        assert_eq!(of(&["--provider-volume=/a,/b"]), "--provider-volume=/a,/b (flag)");
    }
}
