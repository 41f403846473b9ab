//! The guarded client against servers that are not where they say, and that do not behave.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use hospes::clock::Timestamp;
use hospes::domain::ids::TenantId;
use hospes::ids::RandomIds;
use hospes::outbound::{
    Answer, Excess, Failure, Limits, Method, Options, Outbound, Purpose, REQUESTS_OF_TENANT_MAX, Reach,
    Request, Resolver, Target, read_authorities,
};
use hospes_tests::{Receiver, Reply};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

const LIMITS: Limits =
    Limits { time: Duration::from_secs(5), answer_bytes_max: 1_000, excess: Excess::Refuse };

/// Answers the next list of addresses each time, and counts.
#[derive(Default)]
pub(crate) struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: AtomicUsize,
}

impl Scripted {
    /// Answers these in turn, again and again.
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let answers = Mutex::new(answers.iter().map(parse).collect());
        Arc::new(Self { answers, lookups: AtomicUsize::new(0) })
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

impl Resolver for Scripted {
    fn resolve<'a>(&'a self, _tenant: &'a TenantId, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let at = self.lookups.fetch_add(1, Ordering::SeqCst);
        let answers = self.answers.lock().unwrap();
        let answer = if answers.is_empty() { Vec::new() } else { answers[at % answers.len()].clone() };
        let answer = if answer.is_empty() { Err(io::Error::other(host.to_owned())) } else { Ok(answer) };
        Box::pin(std::future::ready(answer))
    }
}

fn client(reach: Reach, resolver: &Arc<Scripted>) -> Outbound {
    Outbound::new(Options { reach, resolver: Arc::clone(resolver) as _, ..Options::default() })
}

/// A client that reaches loopback, under whatever name.
fn local() -> Outbound {
    client(Reach::Private, &Scripted::new(&[&["127.0.0.1"]]))
}

fn tenant() -> TenantId {
    TenantId::new(&RandomIds::default(), Timestamp::default())
}

fn get(url: &str, limits: Limits) -> Request {
    let target = Target::parse(url, Reach::Private).unwrap_or_else(|fault| panic!("{url}: {fault}"));
    Request::new(Method::Get, target, Bytes::new(), limits)
}

async fn send(client: &Outbound, request: &Request) -> Result<Answer, Failure> {
    client.send(Purpose::Webhook, &tenant(), request).await
}

/// What one server does, and the code of the failure that it causes.
async fn outcome(reply: Reply, limits: Limits) -> Result<Answer, &'static str> {
    let receiver = Receiver::start(move |_| reply.clone()).await;
    send(&local(), &get(&receiver.url("/x"), limits)).await.map_err(|failure| failure.code())
}

/// Hosts that mean this machine or its neighbours, and such as no parser should take.
const ODD_HOSTS: &[&str] = &[
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fc00::1]",
    "[fd00::1]",
    "[ff02::1]",
    "[::1%25lo]",
    "[v1.x]",
    "[",
    "]",
    "",
    "metadata",
    "metadata.internal",
    "kubernetes.default.svc",
    "host.docker.internal",
    "rebind.example.com",
    "example.com.",
    "EXAMPLE.COM",
    "xn--",
    "xn--a.com",
    "a..com",
    "-a.com",
    "a-.com",
    "*.example.com",
    "example.com:",
    "example.com:0",
    "example.com:99999",
    "0",
    "0.0",
    "127.1",
];

/// Beginnings of an address that parsers read differently.
const ODD_BEGINNINGS: &[&str] = &[
    "https:",
    "https:/",
    "https:\\\\",
    "//",
    "\thttps://",
    " https://",
    "https://\u{feff}",
    "file://",
    "gopher://",
];

/// An address in every spelling of a host that some parser understands.
fn spellings_of([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let number = u32::from_be_bytes([a, b, c, d]);
    let short = u32::from_be_bytes([0, b, c, d]);
    let mapped = format!("{a:x}{b:02x}:{c:x}{d:02x}");
    vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{number}"),
        format!("0{number:o}"),
        format!("0x{number:x}"),
        format!("0X{number:X}"),
        format!("{a}.{short}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("00{a:o}.00{b:o}.{c}.{d}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0x{a:x}.{b}.0{c:o}.{d}"),
        format!("{}.{b}.{c}.{d}", u16::from(a) + 256),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[::ffff:{mapped}]"),
        format!("[::{mapped}]"),
        format!("[0:0:0:0:0:ffff:{mapped}]"),
        format!("[64:ff9b::{mapped}]"),
        format!("[64:ff9b:1::{mapped}]"),
        format!("[2002:{mapped}::1]"),
        format!("[2001:0:{mapped}::]"),
        format!("user@{a}.{b}.{c}.{d}"),
        format!("hooks.example.com@{a}.{b}.{c}.{d}"),
        format!("hooks.example.com%40{a}.{b}.{c}.{d}"),
        format!("{a}.{b}.{c}.{d}%2f.example.com"),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("{a}.{b}.{c}.{d}\\.example.com"),
        format!("{a}.{b}.{c}.{d}\t.example.com"),
        format!("{a}.{b}.{c}.{d}\r\n.example.com"),
        format!("{a}.{b}.{c}.{d}#.example.com"),
        format!("{a}。{b}。{c}。{d}"),
        format!("{a}.{b}.{c}.{d}\u{200d}"),
        format!("{a}.{b}.{c}.{d}").chars().map(enclosed).collect(),
        // These are names; what they mean is said by the resolver.
        format!("{a}.{b}.{c}.{d}.nip.example"),
        format!("{a}-{b}-{c}-{d}.example.com"),
        format!("x{number:x}.example.com"),
    ]
}

/// Inner addresses in every spelling that some parser understands.
fn spellings(port: u16) -> BTreeSet<String> {
    const INNER: &[[u8; 4]] =
        &[[127, 0, 0, 1], [10, 0, 0, 1], [169, 254, 169, 254], [192, 168, 0, 1], [0, 0, 0, 0]];
    let inner = INNER.iter().flat_map(|address| spellings_of(*address));
    let hosts: BTreeSet<String> = inner.chain(ODD_HOSTS.iter().map(ToString::to_string)).collect();
    let of_host = |host: &String| {
        [format!("https://{host}:{port}/"), format!("http://{host}:{port}/"), format!("https://{host}/")]
    };
    let odd = ODD_BEGINNINGS.iter().map(|odd| format!("{odd}127.0.0.1:{port}/"));
    hosts.iter().flat_map(of_host).chain(odd).collect()
}

/// Digits in circles and wide stops, which some parsers turn into plain ones.
fn enclosed(c: char) -> char {
    match c.to_digit(10) {
        Some(0) => '⓪',
        Some(digit) => char::from_u32(0x2460 + digit - 1).unwrap(),
        None => '．',
    }
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_connected_to() {
    let inner = Receiver::start(|_| Reply::Answer(200, "inner")).await;
    let resolver =
        Scripted::new(&[&["127.0.0.1"], &["::1", "10.0.0.1"], &["169.254.169.254"], &["::ffff:127.0.0.1"]]);
    let client = client(Reach::Public, &resolver);
    let (urls, mut names) = (spellings(inner.address.port()), 0);
    assert!(urls.len() >= 500, "{}", urls.len());
    for url in &urls {
        let Ok(target) = Target::parse(url, Reach::Public) else { continue };
        names += 1;
        let failure = send(&client, &Request::new(Method::Get, target, Bytes::new(), LIMITS)).await;
        assert_eq!(failure.err().map(|failure| failure.code()), Some("unreachable"), "{url}");
    }
    assert!((10..60).contains(&names), "{names} of them are names, which the resolver decides");
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_never_reaches_inside() {
    let inner = Receiver::start(|_| Reply::Answer(200, "inner")).await;
    let resolver =
        Scripted::new(&[&["127.0.0.1"], &[], &["::1"], &["169.254.169.254", "127.0.0.1"], &["10.0.0.1"]]);
    let client = client(Reach::Public, &resolver);
    let url = format!("https://rebind.example.com:{}/", inner.address.port());
    let request =
        Request::new(Method::Get, Target::parse(&url, Reach::Public).unwrap(), Bytes::new(), LIMITS);
    let tenant = tenant();
    for _ in 0..10_000 {
        let failure = client.send(Purpose::Plugin, &tenant, &request).await.unwrap_err();
        assert_eq!(failure.code(), "unreachable");
    }
    assert_eq!((inner.connections(), resolver.lookups()), (0, 10_000));
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let receiver = Receiver::start(|_| Reply::Answer(200, "here")).await;
    // A second lookup would find an address that may not be reached, as the first one of the list may not.
    let resolver = Scripted::new(&[&["169.254.169.254", "127.0.0.1"], &["169.254.169.254"]]);
    let client = client(Reach::Private, &resolver);
    let request = get(&format!("http://rebind.example.com:{}/", receiver.address.port()), LIMITS);
    assert_eq!(send(&client, &request).await.unwrap().body, "here");
    assert_eq!(send(&client, &request).await.unwrap_err().code(), "unreachable");
    assert_eq!((receiver.connections(), resolver.lookups()), (1, 2));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let receiver = Receiver::start(|_| Reply::Answer(201, "made")).await;
    let target = Target::parse(&receiver.url("/a/b?c=d"), Reach::Private).unwrap();
    let mut request = Request::new(Method::Put, target, Bytes::from_static(b"body"), LIMITS);
    request.add_header("X-Mine", "a b").unwrap();
    let answer = send(&local(), &request).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (201, &b"made"[..]));
    let received = receiver.received();
    let [one] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((one.line.as_str(), one.body.as_slice()), ("PUT /a/b?c=d HTTP/1.1", &b"body"[..]));
    let names: Vec<_> = one.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "host").count(), 1);
    assert_eq!(one.header("host"), receiver.address.to_string());
    assert_eq!((one.header("content-length"), one.header("x-mine")), ("4", "a b"));
    assert!(one.header("user-agent").starts_with("Hospes/"));
    assert!(!names.contains(&"accept-encoding") && !names.contains(&"cookie"), "{names:?}");
}

#[tokio::test]
async fn no_redirection_is_followed() {
    let inner = Receiver::start(|_| Reply::Answer(200, "inner")).await;
    for status in [300, 301, 302, 303, 304, 305, 307, 308] {
        for to in [
            inner.url("/"),
            format!("//{}/", inner.address),
            "/again".to_owned(),
            "file:///etc/passwd".to_owned(),
        ] {
            let head = format!("HTTP/1.1 {status} Away\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let answer = outcome(Reply::Raw(head.into_bytes()), LIMITS).await.unwrap();
            assert_eq!((answer.status, answer.headers[0].1.as_str()), (status, to.as_str()));
        }
    }
    assert_eq!(inner.connections(), 0);
}

#[tokio::test]
async fn a_server_that_drips_or_is_silent_is_left_in_time() {
    let limits = Limits { time: Duration::from_millis(400), ..LIMITS };
    for reply in [
        Reply::Silence,
        Reply::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
        Reply::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n".to_vec()),
        Reply::Drip(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ] {
        let begun = Instant::now();
        assert_eq!(outcome(reply.clone(), limits).await.err(), Some("timeout"), "{reply:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{reply:?} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_name_whose_lookup_hangs_is_left_in_time() {
    struct Hanging;
    impl Resolver for Hanging {
        fn resolve<'a>(&'a self, _: &'a TenantId, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(std::future::pending())
        }
    }
    let client = Outbound::new(Options { resolver: Arc::new(Hanging), ..Options::default() });
    let limits = Limits { time: Duration::from_millis(100), ..LIMITS };
    let failure = send(&client, &get("https://hooks.example.com/", limits)).await.unwrap_err();
    assert_eq!(failure.code(), "timeout");
}

#[tokio::test]
async fn an_endless_answer_ends_at_the_limit() {
    let endless = |head: &str| Reply::Endless(head.as_bytes().to_vec(), vec![b'x'; 64 << 10]);
    let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
    let chunked = Reply::Endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), chunk);
    let cut = Limits { excess: Excess::Cut, ..LIMITS };
    for reply in [
        endless("HTTP/1.1 200 OK\r\n\r\n"),
        endless("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"),
        chunked,
    ] {
        assert_eq!(outcome(reply.clone(), LIMITS).await.err(), Some("too_large"));
        let answer = outcome(reply, cut).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, cut.answer_bytes_max));
    }
    for head in [
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1_000)),
    ] {
        assert_eq!(outcome(Reply::Raw(head.into_bytes()), LIMITS).await.err(), Some("broken"));
    }
    let head = Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".to_vec());
    assert_eq!(outcome(head, LIMITS).await.err(), Some("broken"));
}

#[tokio::test]
async fn a_compressed_bomb_stays_compressed() {
    // Twenty bytes of gzip that say a gigabyte follows would be inflated by others; here they are bytes.
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n";
    let bomb = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let answer = outcome(Reply::Raw([&head[..], &bomb].concat()), LIMITS).await.unwrap();
    assert_eq!(&*answer.body, bomb);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_lies_about_its_length_is_none() {
    for reply in [
        Reply::Reset(Vec::new()),
        Reply::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nhalf!".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nhalf".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\n x: folded\r\n\r\n".to_vec()),
        Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Reply::Raw(b"half".to_vec()),
        Reply::Raw(Vec::new()),
    ] {
        assert_eq!(outcome(reply.clone(), LIMITS).await.err(), Some("broken"), "{reply:?}");
    }
    // What follows the told length is nobody's: there is no second request on a connection.
    let more = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalfHTTP/1.1 200 OK\r\n\r\nsmuggled";
    assert_eq!(outcome(Reply::Raw(more.to_vec()), LIMITS).await.unwrap().body, "half");
    let receiver = Receiver::start(|_| Reply::Answer(200, "")).await;
    let (client, request) = (local(), get(&receiver.url("/"), LIMITS));
    for _ in 0..3 {
        send(&client, &request).await.unwrap();
    }
    assert_eq!(receiver.connections(), 3);
}

#[tokio::test]
async fn nobody_listening_is_a_failure_of_its_own() {
    let gone = Receiver::start(|_| Reply::Silence).await.url("/");
    assert_eq!(send(&local(), &get(&gone, LIMITS)).await.unwrap_err().code(), "connect");
}

#[tokio::test]
async fn silent_servers_of_one_tenant_hold_up_nobody_else() {
    let (silent, well) =
        tokio::join!(Receiver::start(|_| Reply::Silence), Receiver::start(|_| Reply::Answer(200, "")));
    let (client, greedy) = (local(), tenant());
    let slow = Limits { time: Duration::from_secs(30), ..LIMITS };
    let hanging: Vec<_> = (0..REQUESTS_OF_TENANT_MAX)
        .map(|_| {
            let (client, greedy, request) = (client.clone(), greedy.clone(), get(&silent.url("/"), slow));
            tokio::spawn(async move { client.send(Purpose::Webhook, &greedy, &request).await.map(drop) })
        })
        .collect();
    silent.wait_for(REQUESTS_OF_TENANT_MAX).await;
    let request = get(&well.url("/"), LIMITS);
    send(&client, &request).await.unwrap();
    client.send(Purpose::Plugin, &greedy, &request).await.unwrap();
    let refused = client.send(Purpose::Webhook, &greedy, &request).await;
    assert_eq!(refused.err().map(|failure| failure.code()), Some("busy"));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(hanging).await;
    client.send(Purpose::Webhook, &greedy, &request).await.unwrap();
}

/// An authority's certificate in PEM, and a server for `names` whose certificate it has signed.
pub(crate) fn authority(names: &[&str]) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    (issuer.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn only_a_certificate_for_the_name_from_a_trusted_authority_is_taken() {
    let (pem, acceptor) = authority(&["hooks.example.com"]);
    let receiver = Receiver::start_tls(acceptor, |_| Reply::Answer(200, "safe")).await;
    let trusting = |authorities| {
        let resolver = Scripted::new(&[&["127.0.0.1"]]);
        Outbound::new(Options { reach: Reach::Private, resolver, authorities })
    };
    let client = trusting(read_authorities(pem.as_bytes()).unwrap());
    let url = |name: &str, at: &Receiver| format!("https://{name}:{}/", at.address.port());
    let code = async |client: &Outbound, url: String| {
        send(client, &get(&url, LIMITS)).await.map(|answer| answer.body).map_err(|failure| failure.code())
    };
    assert_eq!(code(&client, url("hooks.example.com", &receiver)).await, Ok(Bytes::from_static(b"safe")));
    assert_eq!(code(&client, url("other.example.com", &receiver)).await, Err("tls"));
    assert_eq!(code(&trusting(Vec::new()), url("hooks.example.com", &receiver)).await, Err("tls"));
    assert_eq!(receiver.received().len(), 1);
    assert!(read_authorities(b"nothing").is_err());
}
