//! A forward proxy that knows one way: whatever host a client wants to reach over TLS, it gets to this cloud.
//!
//! With it a client can be left to make up AWS's host names by itself, and what it makes up can be read. Only CONNECT is
//! served; the hosts of other requests are noted and refused.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::DevCloud;
use crate::lock::lock;

/// More than any request for a connection has.
const MOST_LINES: usize = 100;

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    hosts: Arc<Mutex<BTreeSet<String>>>,
    server: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Proxy {
    /// Leads to the TLS listener of a cloud.
    pub async fn to(cloud: &DevCloud) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, target) = (listener.local_addr()?, cloud.tls_address());
        let hosts = Arc::<Mutex<BTreeSet<String>>>::default();
        let server = tokio::spawn({
            let hosts = hosts.clone();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(lead(client, target, hosts.clone()));
                    while connections.try_join_next().is_some() {}
                }
            }
        });
        Ok(Self { address, hosts, server })
    }

    /// What belongs into `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What clients wanted to reach so far, as `host:port`, or as the whole URL where it was no CONNECT.
    pub fn hosts(&self) -> BTreeSet<String> {
        lock(&self.hosts).clone()
    }
}

async fn lead(client: TcpStream, target: SocketAddr, hosts: Arc<Mutex<BTreeSet<String>>>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    client.read_line(&mut request).await?;
    for _ in 0..MOST_LINES {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let mut words = request.split_whitespace();
    let (method, wanted) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    lock(&hosts).insert(wanted.to_owned());
    if method != "CONNECT" {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\r\n").await;
    }
    let mut cloud = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut cloud).await?;
    Ok(())
}
