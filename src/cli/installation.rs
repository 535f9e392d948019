//! `secretmount check --cluster`: whether the installation in a cluster is complete.

use std::time::Duration;

use clap::Args;
use kube::Config;

use crate::cluster::KubernetesClient;
use crate::installation::{self, Category, Check, Expected, Outcome, Report};

/// Where this provider is installed, unless somebody says otherwise.
const NAMESPACE: &str = "kube-system";
/// Each question has its own limit, but a cluster of thousands of nodes has many pages. What is known then is judged; `helm test`
/// waits for five minutes.
const LONGEST: Duration = Duration::from_secs(4 * 60);

#[derive(Debug, Args)]
#[group(id = "installation")]
pub struct Options {
    /// Namespace of the provider [default: that of the pod, or kube-system]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "paths")]
    namespace: Option<String>,

    /// Address of an API server that asks for no credentials, such as that of kubectl proxy
    #[arg(long, value_name = "URL", conflicts_with = "paths")]
    server: Option<http::Uri>,

    /// Directory of the nodes in which the driver looks for sockets [default: what the driver's DaemonSet says]
    #[arg(long, value_name = "DIR", value_delimiter = ',', conflicts_with = "paths")]
    provider_volume: Vec<String>,
}

/// Where nobody can be asked, that is what is found.
pub fn examine(options: &Options) -> Report {
    match try_examine(options) {
        Ok(report) => report,
        Err(error) => {
            let check = Check {
                description: format!("the API server cannot be asked: {error:#}"),
                outcome: Outcome::Unreachable,
                hint: Some(
                    "kubectl proxy, and beside it: secretmount check --cluster --server http://127.0.0.1:8001".into(),
                ),
            };
            Report { categories: vec![Category { name: "kubernetes", checks: vec![check] }] }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn try_examine(options: &Options) -> anyhow::Result<Report> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = match &options.server {
        Some(server) => {
            anyhow::ensure!(server.scheme().is_some(), "--server {server}: write a URL, like http://127.0.0.1:8001");
            Config::new(server.clone())
        }
        None => KubernetesClient::configuration().await?,
    };
    let cluster = KubernetesClient::for_lists(&config, LONGEST)?;
    let of_pod = KubernetesClient::namespace_of_pod(&config);
    let namespace = options.namespace.as_deref().or(of_pod).unwrap_or(NAMESPACE);
    let expected = Expected { namespace: namespace.to_owned(), provider_volumes: options.provider_volume.clone() };
    Ok(installation::examine(&cluster, &expected).await)
}
