//! One connection, one request, one answer.
//!
//! The addresses come checked and are checked again where the connection is opened, and
//! nothing here looks a name up. There is no pool: no answer can be taken for that of
//! another request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::message::{Answer, Excess, Limits, Request};
use super::{Reach, Target};

/// Addresses of a name that are tried at most, and how long each may take to accept.
const ADDRESSES_MAX: usize = 4;
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Headers of an answer at most, and bytes of its head.
const ANSWER_HEADERS_MAX: usize = 64;
const ANSWER_HEAD_BYTES_MAX: usize = 32 * 1024;
/// What the client calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Hospes/", env!("CARGO_PKG_VERSION")));

/// Trust in the public certificate authorities and in `more`.
pub(super) fn connector(more: &[CertificateDer<'static>]) -> TlsConnector {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let (_added, ignored) = roots.add_parsable_certificates(more.iter().cloned());
    if ignored > 0 {
        tracing::error!(ignored, "certificates of the operator's file cannot be used and are ignored");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Sends `request` to one of `addresses` and waits for the whole answer; the caller bounds the time.
pub(super) async fn exchange(
    connector: &TlsConnector,
    reach: Reach,
    addresses: &[IpAddr],
    request: &Request,
) -> Result<Answer, Failure> {
    let target = &request.target;
    let stream = connect(reach, addresses, target.port()).await?;
    if target.is_plain() {
        return talk(stream, request).await;
    }
    let name = target.literal().map(|address| ServerName::IpAddress(address.into()));
    let name = match name {
        Some(name) => name,
        None => {
            ServerName::try_from(target.host().to_owned()).map_err(|error| Failure::Tls(error.to_string()))?
        }
    };
    let stream = connector.connect(name, stream).await.map_err(|error| Failure::Tls(error.to_string()))?;
    talk(stream, request).await
}

/// The only place of the host that opens a connection to an address that somebody else has chosen.
async fn connect(reach: Reach, addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Unreachable;
    for address in addresses.iter().filter(|address| reach.allows(**address)).take(ADDRESSES_MAX) {
        let opened = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(SocketAddr::new(*address, port)));
        failure = match opened.await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|error| Failure::Connect(error.into()))?;
                return Ok(stream);
            }
            Ok(Err(error)) => Failure::Connect(error.into()),
            Err(_elapsed) => Failure::Timeout { seconds: CONNECT_TIME.as_secs() },
        };
    }
    Err(failure)
}

async fn talk<S>(stream: S, request: &Request) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(ANSWER_HEADERS_MAX)
        .max_buf_size(ANSWER_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let message = message(request)?;
    let answer = async {
        let answer = sender.send_request(message).await.map_err(broken)?;
        read(answer, request.limits).await
    };
    let (answer, connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    match select(answer, connection).await {
        Either::Left((answer, _connection)) => answer,
        // The server has closed; what it has sent before is still an answer.
        Either::Right((_ended, answer)) => answer.await,
    }
}

fn message(request: &Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let Request { method, target, body, .. } = request;
    let mut message = hyper::Request::new(Full::new(body.clone()));
    *message.method_mut() = method.to_hyper();
    // The path alone: the form with the host in it is for proxies.
    *message.uri_mut() = target.path().parse().map_err(broken)?;
    let headers = message.headers_mut();
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in request.headers() {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(HOST, host(target)?);
    Ok(message)
}

fn host(target: &Target) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(&target.authority()).map_err(broken)
}

async fn read(answer: hyper::Response<Incoming>, limits: Limits) -> Result<Answer, Failure> {
    let (head, mut body) = answer.into_parts();
    let max = limits.answer_bytes_max;
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if limits.excess == Excess::Refuse && told > max {
        return Err(Failure::TooLarge { max });
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let fits = data.len().min(max - bytes.len());
        bytes.extend_from_slice(data.get(..fits).unwrap_or(&data));
        if fits < data.len() {
            match limits.excess {
                Excess::Cut => break,
                Excess::Refuse => return Err(Failure::TooLarge { max }),
            }
        }
    }
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers = head.headers.iter().filter_map(|(name, value)| Some((name.to_string(), text(value)?)));
    Ok(Answer { status: head.status.as_u16(), headers: headers.collect(), body: bytes.freeze() })
}

fn broken(error: impl Into<super::failure::Cause>) -> Failure {
    Failure::Broken(error.into())
}
