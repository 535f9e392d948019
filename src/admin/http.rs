//! Pages over HTTP/1.1, for probes, scrapes and operators: short questions, short answers, a connection for each.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::socket::{ACCEPT_PAUSE, is_allowed};

/// How many are talked to at the same time. Of more, the one that has been there for longest is cut off: an honest one takes
/// milliseconds, so whoever floods the port cuts off himself. Each port has that many of its own.
const AT_ONCE: usize = 32;
/// How long a question may take to come, and with its answer in all.
const HEADERS_WITHIN: Duration = Duration::from_secs(3);
const DONE_WITHIN: Duration = Duration::from_secs(15);
const MAX_QUESTION_BYTES: usize = 16 * 1024;
/// When a port that somebody else has is tried again, such as by the next version of this provider on the host's network.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What is answered.
pub struct Page {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: String,
}

/// Whoever knows the pages of a port or socket.
#[async_trait]
pub trait Pages: Send + Sync + 'static {
    /// What it is for, as logs say it.
    const NAME: &'static str;

    /// The page at a path, if there is one. `accept` is what the asker takes.
    async fn page(&self, path: &str, query: Option<&str>, accept: &str) -> Option<Page>;

    /// Does what is asked for with another method than GET, and tells what has come of it. Where nothing can be done at a path in
    /// that way, there is no page.
    async fn act(&self, _: &Method, _: &str, _: Limited<Incoming>) -> Option<Page> {
        None
    }
}

/// Where connections come from.
pub(super) trait Listener: Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one of somebody who may ask.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.accept().await?;
            if is_allowed(&stream) {
                return Ok(stream);
            }
            warn!("closed a connection of another user than root");
        }
    }
}

/// Answers on a port of every address, until `stop`. Where the port cannot be had, tries again and again: whoever needs secrets
/// needs no numbers.
pub async fn listen<P: Pages>(port: u16, pages: Arc<P>, stop: CancellationToken) {
    let serving = async {
        let mut was_told = false;
        let listener = loop {
            match bind(port).await {
                Ok(listener) => break listener,
                Err(error) if was_told => tracing::debug!(%error, port, "the port cannot be had yet"),
                Err(error) => {
                    warn!(%error, port, name = P::NAME, "the port cannot be had, and is tried again and again");
                    was_told = true;
                }
            }
            tokio::time::sleep(TRIED_AGAIN_AFTER).await;
        };
        info!(port, name = P::NAME, "listening");
        serve(&listener, &pages).await
    };
    tokio::select! {
        () = stop.cancelled() => {}
        never = serving => match never {},
    }
}

/// Of both families, or of IPv4 alone where the node has no other.
async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        result => result,
    }
}

/// Talks to whoever comes, for ever.
pub(super) async fn serve<P: Pages>(listener: &impl Listener, pages: &Arc<P>) -> Infallible {
    let mut talking: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok(stream) = listener.next().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        talking.retain(|one| !one.is_finished());
        if talking.len() >= AT_ONCE
            && let Some(longest) = talking.pop_front()
        {
            longest.abort();
        }
        talking.push_back(tokio::spawn(talk(stream, pages.clone())).abort_handle());
    }
}

async fn talk<P: Pages>(stream: impl AsyncRead + AsyncWrite + Unpin + Send, pages: Arc<P>) {
    let answer = service_fn(move |question: Request<Incoming>| {
        let pages = pages.clone();
        async move { Ok::<_, Infallible>(answer(question, &*pages).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MAX_QUESTION_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    let _ = tokio::time::timeout(DONE_WITHIN, connection).await;
}

async fn answer<P: Pages>(question: Request<Incoming>, pages: &P) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, text: &str| Page {
        status,
        content_type: "text/plain; charset=utf-8",
        body: format!("{text}\n"),
    };
    let (question, body) = question.into_parts();
    let path = question.uri.path();
    let page = match question.method {
        Method::GET | Method::HEAD => {
            let accept = question.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            let page = pages.page(path, question.uri.query(), accept.unwrap_or_default()).await;
            page.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "there is no such page"))
        }
        method => {
            let page = pages.act(&method, path, Limited::new(body, MAX_QUESTION_BYTES)).await;
            page.unwrap_or_else(|| plain(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done here"))
        }
    };
    let mut answer = Response::new(Full::new(Bytes::from(page.body)));
    *answer.status_mut() = page.status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    answer
}
