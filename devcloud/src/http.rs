//! The listeners: reads a whole request, logs it, lets faults have it, and asks the right front for
//! the answer.
//!
//! Answers are computed at once from memory; only latency and faults wait. A client that goes away
//! drops the waiting future, and with it the call's guard, so the log shows a call without a status.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use crate::calls::{CallFacts, Line};
use crate::exchange::{Answer, Asked};
use crate::faults::FaultKind;
use crate::lock::lock;
use crate::state::Shared;
use crate::{agent, aws, control, kubernetes};

/// More than any request has: a secret has at most 64 KiB.
const LARGEST_BODY: usize = 4 << 20;

/// Protocols by the names that are negotiated (RFC 7301).
pub(crate) const HTTP_1: &str = "http/1.1";
pub(crate) const HTTP_2: &str = "h2";

/// Which of the services a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Aws,
    Kubernetes,
    Agent,
}

impl Front {
    fn describe(self, shared: &Shared, asked: &Asked) -> CallFacts {
        match self {
            Self::Aws => aws::describe(shared, asked),
            Self::Kubernetes => kubernetes::describe(asked),
            Self::Agent => agent::describe(asked),
        }
    }

    fn answer(self, shared: &Shared, asked: &Asked) -> Answer {
        match self {
            Self::Aws => aws::answer(shared, asked),
            Self::Kubernetes => kubernetes::answer(&mut lock(&shared.cluster), &shared.issuer, asked),
            Self::Agent => agent::answer(shared, asked),
        }
    }

    /// An error in the words of this front.
    fn refuse(self, call: &CallFacts, status: u16, code: &str, message: &str) -> Answer {
        match self {
            Self::Aws => aws::refuse(&call.service, status, code, message),
            Self::Kubernetes => kubernetes::refuse(status, code, message),
            Self::Agent => agent::refuse(status, code, message),
        }
    }
}

/// Accepts until `stop` says so; then every connection is dropped.
pub(crate) fn serve(
    listener: TcpListener,
    front: Front,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, front, tls.clone(), Arc::clone(&shared)));
                    }
                    // Out of descriptors, most likely: give the clients time to close some.
                    Err(_) => sleep(Duration::from_millis(20)).await,
                },
            }
        }
    })
}

/// Also when nobody is left who could say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse(stream: TcpStream, front: Front, tls: Option<Arc<rustls::ServerConfig>>, shared: Arc<Shared>) {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire { stream, reset: Arc::clone(&reset) };
    let service = |key_exchange| {
        let line = Arc::new(Line { connection, key_exchange });
        service_fn(move |request| handle(Arc::clone(&shared), front, request, Arc::clone(&line), Arc::clone(&reset)))
    };
    // What ends a connection in error is the client's affair or a fault's wish.
    match tls {
        None => {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), service(None)).await;
        }
        Some(config) => {
            let Ok(wire) = TlsAcceptor::from(config).accept(wire).await else { return };
            let group = wire.get_ref().1.negotiated_key_exchange_group();
            let service = service(group.map(|group| format!("{:?}", group.name())));
            // Here a fault that cuts off or resets ends its own stream, not the connection.
            if wire.get_ref().1.alpn_protocol() == Some(HTTP_2.as_bytes()) {
                let builder = http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(wire), service).await;
            } else {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
            }
        }
    }
}

async fn handle(
    shared: Arc<Shared>,
    front: Front,
    request: Request<Incoming>,
    line: Arc<Line>,
    reset: Arc<AtomicBool>,
) -> Result<Response<AnswerBody>, Cut> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().into(),
        query: parts.uri.query().unwrap_or_default().into(),
        headers: parts.headers,
        body,
    };
    if front == Front::Aws && asked.path.starts_with(control::PREFIX) {
        return Ok(written(control::answer(&shared, &asked), None));
    }

    let call = front.describe(&shared, &asked);
    let open = shared.calls.open(&call, &line);
    let verdict = shared.faults.judge(&call);
    if !verdict.wait.is_zero() {
        sleep(verdict.wait).await;
    }
    let mut ailment = None;
    let answer = match verdict.fault {
        None | Some(FaultKind::Delay(_)) => front.answer(&shared, &asked),
        Some(FaultKind::Error { status, code, message }) => {
            front.refuse(&call, status, &code, &message).with_code(&code)
        }
        Some(FaultKind::RawResponse { status, body, content_type }) => Answer::new(status, &content_type, body),
        Some(FaultKind::TruncateAfter(length)) => {
            ailment = Some(Ailment::CutAfter(length));
            front.answer(&shared, &asked)
        }
        Some(FaultKind::Drip(pause)) => {
            ailment = Some(Ailment::Drips(pause));
            front.answer(&shared, &asked)
        }
        Some(FaultKind::Hang) => std::future::pending().await,
        Some(FaultKind::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err(Cut);
        }
    };
    open.close(answer.status, answer.code.clone());
    Ok(written(answer, ailment))
}

/// What is wrong with a body on its way.
enum Ailment {
    CutAfter(usize),
    Drips(Duration),
}

fn written(answer: Answer, ailment: Option<Ailment>) -> Response<AnswerBody> {
    let whole = answer.body.len();
    let mut data = Bytes::from(answer.body);
    let (mut cut, mut drip) = (None, None);
    match ailment {
        Some(Ailment::CutAfter(length)) => {
            data.truncate(length);
            cut = Some(Box::pin(sleep(Duration::from_millis(20))));
        }
        Some(Ailment::Drips(pause)) => drip = Some((pause, Box::pin(sleep(pause)))),
        None => {}
    }
    let mut response = Response::new(AnswerBody { data, cut, drip });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, whole.into());
    if let Ok(content_type) = HeaderValue::from_str(&answer.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Ends the connection without another word.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut off on purpose")
    }
}

impl std::error::Error for Cut {}

/// A body in one piece, which may break off before its announced end, or come byte by byte.
struct AnswerBody {
    data: Bytes,
    /// A moment for the data to leave before the connection does.
    cut: Option<Pin<Box<Sleep>>>,
    /// The pause between two bytes, and what is left of this one.
    drip: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if !self.data.is_empty() {
            let length = match &mut self.drip {
                Some((pause, moment)) => {
                    std::task::ready!(moment.as_mut().poll(context));
                    *moment = Box::pin(sleep(*pause));
                    1
                }
                None => self.data.len(),
            };
            return Poll::Ready(Some(Ok(Frame::data(self.data.split_to(length)))));
        }
        match &mut self.cut {
            None => Poll::Ready(None),
            Some(moment) => moment.as_mut().poll(context).map(|()| Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.cut {
            None => SizeHint::with_exact(self.data.len() as u64),
            Some(_) => SizeHint::default(),
        }
    }
}

/// A socket that closes with RST instead of FIN when told to.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
