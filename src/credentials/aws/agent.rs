//! The HTTP API of the EKS Pod Identity agent, which runs on every node and answers at link-local addresses.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
//!
//! Requests carry the pod's token, so they go to these addresses only: no proxy is used and no redirect followed.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::clock::Instant;
use crate::plan::aws::AddressFamily;
use crate::random;
use crate::sensitive::ServiceAccountToken;
use crate::telemetry::{Api, metrics};

/// How much earlier the address that is tried first is dialled: most nodes answer on it within a millisecond.
const HEAD_START: Duration = Duration::from_millis(200);
/// Longest time to get a connection. The agent is on this very node.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest answer. Credentials have about 2 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What is left of a mount's budget for saying what went wrong.
const FAREWELL: Duration = Duration::from_millis(500);

/// One address of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a URL with an IP address, like http://169.254.170.23/v1/credentials")]
pub struct InvalidEndpoint;

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// A host name is refused: whoever answers for the name would get tokens. So is a fragment, which `Uri` would drop without
    /// a word.
    fn from_str(raw: &str) -> Result<Self, InvalidEndpoint> {
        let uri: http::Uri = raw.parse().map_err(|_| InvalidEndpoint)?;
        let host = uri.host().ok_or(InvalidEndpoint)?;
        let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| InvalidEndpoint)?;
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        if uri.scheme_str() != Some("http") || uri.query().is_some() || authority.contains('@') || raw.contains('#') {
            return Err(InvalidEndpoint);
        }
        Ok(Self { address: SocketAddr::new(ip, uri.port_u16().unwrap_or(80)), path: uri.path().to_owned() })
    }
}

impl Endpoint {
    fn is_of(&self, family: AddressFamily) -> bool {
        match family {
            AddressFamily::Any => true,
            AddressFamily::Ipv4 => self.address.is_ipv4(),
            AddressFamily::Ipv6 => self.address.is_ipv6(),
        }
    }
}

/// Asks the agent.
pub struct Agent {
    endpoints: Vec<Endpoint>,
    /// Longest time for one request, connection included.
    limit: Duration,
    /// Index of the address that answered last.
    first: AtomicUsize,
}

/// Why there is no answer, or what the answer was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// None of the settings' addresses is of the family that the class wants.
    NoAddress,
    /// No packet gets there.
    Unreachable,
    /// Nobody listens, or whoever does breaks off or keeps silent.
    Silent(&'static str),
    /// HTTP status and text of a refusal.
    Refused(StatusCode, String),
    /// An answer that no agent gives.
    Strange(&'static str),
}

/// As numbers name it.
const API: Api = Api { service: "pod_identity_agent", name: "GetCredentials" };

impl Failure {
    /// How it is counted.
    fn word(&self) -> &'static str {
        match self {
            Self::NoAddress | Self::Unreachable => "connect",
            Self::Silent(_) => "timeout",
            Self::Refused(StatusCode::TOO_MANY_REQUESTS, _) => "TooManyRequestsException",
            Self::Refused(..) | Self::Strange(_) => "other",
        }
    }

    /// Whether another try may help: agents start after the node does, and limit how often they are asked.
    fn passes(&self) -> bool {
        match self {
            Self::Silent(_) => true,
            Self::Refused(status, _) => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            Self::NoAddress | Self::Unreachable | Self::Strange(_) => false,
        }
    }
}

impl Agent {
    pub fn new(endpoints: Vec<Endpoint>, limit: Duration) -> Self {
        Self { endpoints, limit, first: AtomicUsize::new(0) }
    }

    /// The body of the agent's answer to a token. Tries again what may pass, for as long as `deadline` leaves time.
    ///
    /// # Errors
    /// The last try's failure.
    pub async fn ask(
        &self,
        token: &ServiceAccountToken,
        family: AddressFamily,
        deadline: Instant,
    ) -> Result<Bytes, Failure> {
        let deadline = deadline - FAREWELL;
        let mut first = self.first.load(Ordering::Relaxed);
        let mut pause = FIRST_PAUSE;
        loop {
            let order = self.order(first, family);
            let limit = Instant::now() + self.limit;
            let began = Instant::now();
            let (asked, result) = self.try_once(&order, token, limit.min(deadline)).await;
            metrics().backend_request(API, result.as_ref().map_or_else(Failure::word, |_| "ok"), began.elapsed());
            let failure = match result {
                Ok(body) => {
                    self.first.store(asked, Ordering::Relaxed);
                    return Ok(body);
                }
                Err(failure) => failure,
            };
            let wake = Instant::now() + random::jittered(pause);
            if !failure.passes() || wake >= deadline {
                return Err(failure);
            }
            tokio::time::sleep_until(wake).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            // Whoever failed after the connection stood is not the one to begin with.
            first = asked + 1;
        }
    }

    /// The addresses as they are tried, for people.
    pub fn addresses(&self, family: AddressFamily) -> String {
        let order = self.order(0, family);
        let shown: Vec<String> = order.iter().map(|(_, endpoint)| endpoint.address.to_string()).collect();
        shown.join(" and ")
    }

    /// The addresses of a family with their indexes, beginning with the given index.
    fn order(&self, first: usize, family: AddressFamily) -> Vec<(usize, &Endpoint)> {
        let all = self.endpoints.iter().enumerate();
        let mut order: Vec<_> = all.filter(|(_, endpoint)| endpoint.is_of(family)).collect();
        if let Some(place) = order.iter().position(|(index, _)| *index == first % self.endpoints.len().max(1)) {
            order.rotate_left(place);
        }
        order
    }

    /// Also tells which address was asked, or was first in the order.
    async fn try_once(
        &self,
        order: &[(usize, &Endpoint)],
        token: &ServiceAccountToken,
        limit: Instant,
    ) -> (usize, Result<Bytes, Failure>) {
        let Some(first) = order.first().map(|(index, _)| *index) else { return (0, Err(Failure::NoAddress)) };
        let connect_limit = limit.min(Instant::now() + CONNECT_LIMIT);
        let dialled = match tokio::time::timeout_at(connect_limit, dial(order)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(Failure::Unreachable),
        };
        let (index, endpoint, stream) = match dialled {
            Ok(dialled) => dialled,
            Err(failure) => return (first, Err(failure)),
        };
        match tokio::time::timeout_at(limit, exchange(stream, endpoint, token)).await {
            Ok(result) => (index, result),
            Err(_) => (index, Err(Failure::Silent("no answer in time"))),
        }
    }
}

type Dialled<'a> = (usize, &'a Endpoint, TcpStream);

/// The first connection that stands. The next address is dialled when the one before has failed or has used up its head
/// start (after RFC 8305); the slower one is dropped.
async fn dial<'a>(order: &[(usize, &'a Endpoint)]) -> Result<Dialled<'a>, Failure> {
    let mut waiting = order.iter().copied();
    let mut dialling = FuturesUnordered::new();
    let mut refused = false;
    dialling.extend(waiting.next().map(dial_one));
    loop {
        tokio::select! {
            biased;
            Some(dialled) = dialling.next() => match dialled {
                Ok(dialled) => return Ok(dialled),
                Err(error) => {
                    refused |= is_refusal(&error);
                    dialling.extend(waiting.next().map(dial_one));
                }
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => dialling.extend(waiting.next().map(dial_one)),
            else => return Err(if refused { Failure::Silent("nobody listens there") } else { Failure::Unreachable }),
        }
    }
}

async fn dial_one((index, endpoint): (usize, &Endpoint)) -> std::io::Result<Dialled<'_>> {
    Ok((index, endpoint, TcpStream::connect(endpoint.address).await?))
}

/// Whether there is a host at the address, and nobody listens yet.
fn is_refusal(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset)
}

async fn exchange(stream: TcpStream, endpoint: &Endpoint, token: &ServiceAccountToken) -> Result<Bytes, Failure> {
    const BROKEN: Failure = Failure::Silent("the connection broke off");
    let mut authorization =
        HeaderValue::from_str(token.expose()).map_err(|_| Failure::Strange("the token is no header value"))?;
    authorization.set_sensitive(true);
    let request = Request::get(&endpoint.path)
        .header(HOST, endpoint.address.to_string())
        .header(ACCEPT, "application/json")
        .header(AUTHORIZATION, authorization)
        .body(Empty::<Bytes>::new())
        .map_err(|_| Failure::Strange("its path is not one of a URL"))?;

    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_ANSWER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| BROKEN)?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(|_| BROKEN)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        match body {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Failure::Strange("the answer is too long"))
            }
            Err(_) => Err(BROKEN),
        }
    };
    // The connection may end before the answer has been read to its end.
    let (status, body) = match select(std::pin::pin!(answer), std::pin::pin!(connection)).await {
        Either::Left((answer, _)) => answer?,
        Either::Right((_, answer)) => answer.await?,
    };
    match status {
        StatusCode::OK => Ok(body),
        status if status.is_redirection() => Err(Failure::Strange("it redirects, which is not followed")),
        status => Err(Failure::Refused(status, String::from_utf8_lossy(&body).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(urls: &[&str]) -> Vec<Endpoint> {
        urls.iter().map(|url| url.parse().expect("an endpoint")).collect()
    }

    #[test]
    fn an_endpoint_has_an_ip_address() {
        let endpoint: Endpoint = "http://[fd00:ec2::23]/v1/credentials".parse().expect("IPv6");
        assert_eq!(
            (endpoint.address.to_string().as_str(), endpoint.path.as_str()),
            ("[fd00:ec2::23]:80", "/v1/credentials")
        );
        assert_eq!(
            "hTTp://10.0.0.1".parse(),
            "http://10.0.0.1/".parse::<Endpoint>(),
            "a scheme has no case: RFC 3986, 3.1"
        );
        for other in [
            "",
            "169.254.170.23",
            "https://169.254.170.23/",
            "http://agent/v1/credentials",
            "http://u@1.2.3.4/",
            "http://1.2.3.4#/v1",
            "/v1",
        ] {
            assert!(other.parse::<Endpoint>().is_err(), "{other:?} was accepted");
        }
    }

    #[test]
    fn the_order_begins_with_the_last_winner_and_keeps_to_the_family() {
        let agent = Agent::new(endpoints(&["http://10.0.0.1/", "http://[::1]/"]), Duration::from_secs(1));
        let order = |first, family| agent.order(first, family).iter().map(|(index, _)| *index).collect::<Vec<_>>();
        assert_eq!(order(0, AddressFamily::Any), [0, 1]);
        assert_eq!(order(1, AddressFamily::Any), [1, 0]);
        assert_eq!(order(2, AddressFamily::Any), [0, 1]);
        assert_eq!(order(0, AddressFamily::Ipv6), [1]);
        assert_eq!(order(1, AddressFamily::Ipv4), [0]);
        assert_eq!(agent.addresses(AddressFamily::Any), "10.0.0.1:80 and [::1]:80");
        assert!(Agent::new(Vec::new(), Duration::ZERO).order(0, AddressFamily::Any).is_empty());
    }
}
