//! The command line: one file for each subcommand.

mod ask;
mod check;
mod given;
mod installation;
mod log_level;
mod reach;
mod refresh;
mod schema;
mod serve;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{Settings, accept_go_flags};

/// Secrets of AWS Secrets Manager and Parameter Store as files in pods: a provider for the Secrets Store CSI driver.
///
/// Without a subcommand it serves, and takes the flags of the official AWS provider.
#[derive(Debug, Parser)]
#[command(name = "secretmount", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the driver on this node (the default)
    Serve(Box<Settings>),
    /// Check SecretProviderClasses in manifests, without AWS and without a cluster; with --cluster, the installation in one
    Check(check::Options),
    /// Show what the provider of this node knows: volumes, what fails and why, caches, sockets
    Status(status::Options),
    /// Have secrets read anew at the next refresh, instead of what is kept of them
    Refresh(refresh::Options),
    /// Change what the provider of this node logs, until it starts anew
    LogLevel(log_level::Options),
    /// Print a JSON Schema for editors
    Schema(schema::Options),
}

const EXAMPLES: &str = "\
Examples:
  secretmount serve
  secretmount serve --kubelet-dir /var/lib/kubelet --log-format text
  secretmount --provider-volume=/etc/kubernetes/secrets-store-csi-providers --driver-writes-secrets=true
  secretmount check deploy/ --output github
  helm template . | secretmount check -
  secretmount check --cluster
  kubectl exec --namespace kube-system ds/secretmount -- secretmount status";

/// Runs what the arguments of the process ask for.
pub fn run() -> ExitCode {
    let command = Cli::command();
    let matches = command.clone().get_matches_from(accept_go_flags(std::env::args_os()));
    let given = given::given(&command, &matches);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let settings = match cli.command {
        Some(Command::Check(options)) => return check::run(&options),
        Some(Command::Status(options)) => return status::run(&options),
        Some(Command::Refresh(options)) => return refresh::run(&options),
        Some(Command::LogLevel(options)) => return log_level::run(&options),
        Some(Command::Schema(options)) => {
            schema::run(&options);
            return ExitCode::SUCCESS;
        }
        Some(Command::Serve(settings)) => *settings,
        None => cli.settings,
    };
    match serve::run(settings, &given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_arguments_of_the_official_daemonset_serve() {
        let cli = Cli::try_parse_from([
            "secretmount",
            "--provider-volume=/run/providers",
            "--driver-writes-secrets=true",
            "--qps=5",
            "--burst=10",
            "--eks-addon-version=v1",
            "--pod-identity-http-timeout=250ms",
        ])
        .expect("taken");
        assert!(cli.command.is_none() && cli.settings.driver_writes_secrets);
        assert_eq!(cli.settings.provider_volume, [std::path::Path::new("/run/providers")]);
        assert_eq!(cli.settings.official.warnings().len(), 3);
        assert_eq!(cli.settings.official.agent_limit(), std::time::Duration::from_millis(250));
    }

    #[test]
    fn a_flag_without_a_value_switches_on_as_in_go() {
        let settings =
            |arguments: &[&str]| Cli::try_parse_from([&["secretmount"], arguments].concat()).map(|cli| cli.settings);
        assert!(settings(&["--driver-writes-secrets"]).expect("taken").driver_writes_secrets);
        assert!(!settings(&[]).expect("taken").driver_writes_secrets);
        assert!(!settings(&["--driver-writes-secrets=F"]).expect("taken").driver_writes_secrets);
        assert!(settings(&["--driver-writes-secrets=yes"]).is_err());
    }

    #[test]
    fn bad_settings_say_what_to_write() {
        for (arguments, help) in [
            (["--mount-deadline", "60"], "write it like 30s"),
            (["--mount-deadline", "0s"], "write it like 60s"),
            (["--kubelet-dir", "kubelet"], "write an absolute path"),
            (["--log-format", "xml"], "json, text"),
            (["--max-objects", "many"], "invalid"),
        ] {
            let error = Cli::try_parse_from([&["secretmount", "serve"], &arguments[..]].concat()).expect_err("refused");
            assert!(error.to_string().contains(help), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
