//! Runs a cloud until it is told to stop, and prints where it is.

use std::error::Error;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use devcloud::{DevCloud, Options, Seed};
use tokio::signal::unix::{SignalKind, signal};

/// An embedded AWS, Kubernetes API and EKS Pod Identity agent.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Address of all listeners.
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Port of the AWS services; 0 takes a free one, here and below.
    #[arg(long, default_value_t = 0)]
    aws_port: u16,
    /// Port of the AWS services over TLS.
    #[arg(long, default_value_t = 0)]
    tls_port: u16,
    /// Port of the Kubernetes API.
    #[arg(long, default_value_t = 0)]
    kubernetes_port: u16,
    /// Serve the Kubernetes API over TLS.
    #[arg(long)]
    kubernetes_tls: bool,
    /// Certificates with RSA keys, as AWS has them.
    #[arg(long)]
    rsa_certificates: bool,
    /// Address of the Pod Identity agent, where it is another one.
    #[arg(long)]
    agent_address: Option<IpAddr>,
    /// Port of the Pod Identity agent.
    #[arg(long, default_value_t = 0)]
    agent_port: u16,
    /// Issuer of the cluster's tokens.
    #[arg(long)]
    issuer: Option<String>,
    /// The account of secrets, parameters and the admin identity.
    #[arg(long, default_value = "111122223333")]
    account: String,
    /// JSON file with what the cloud shall contain.
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Where to write the certificate of the TLS listener's authority.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Where to write a kubeconfig.
    #[arg(long)]
    kubeconfig_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    let seed: Option<Seed> = match &cli.seed {
        Some(path) => Some(serde_json::from_slice(&std::fs::read(path)?)?),
        None => None,
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cloud = DevCloud::start(Options {
        address: cli.address,
        agent_address: cli.agent_address,
        aws_port: cli.aws_port,
        kubernetes_port: cli.kubernetes_port,
        agent_port: cli.agent_port,
        tls_port: cli.tls_port,
        kubernetes_tls: cli.kubernetes_tls,
        rsa_certificates: cli.rsa_certificates,
        issuer: cli.issuer,
        account: cli.account,
    })
    .await?;
    if let Some(seed) = seed {
        cloud.sow(seed);
    }
    if let Some(path) = &cli.ca_file {
        std::fs::write(path, cloud.ca_pem())?;
    }
    if let Some(path) = &cli.kubeconfig_file {
        std::fs::write(path, cloud.kubeconfig())?;
    }
    let places = serde_json::json!({"aws_url": cloud.aws_url(), "tls_address": cloud.tls_address(),
        "kubernetes_url": cloud.kubernetes_url(), "agent_url": cloud.agent_url(),
        "issuer": cloud.issuer(), "account": cloud.account(), "ca_file": cli.ca_file});
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{places}")?;
    stdout.flush()?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    cloud.shutdown().await;
    Ok(())
}
