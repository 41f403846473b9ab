//! Requests to other people's servers: the only place that opens such connections.
//!
//! Whoever names an address here may be hostile: a tenant's webhook, a plugin's call. So
//! an address has one spelling, its name is looked up once, only public addresses
//! are connected to, nothing is followed, decompressed or kept, and every wait, byte and
//! connection is counted. Nothing here knows what is sent, and no transaction is open
//! around it.

mod address;
mod exchange;
mod failure;
mod message;
mod resolver;
mod slots;
mod target;
mod understudy;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

pub use address::Reach;
pub use failure::Failure;
pub use message::{
    Answer, Excess, HEADER_BYTES_MAX, HEADERS_MAX, HeaderFault, Limits, Method, Request, is_header_name,
};
pub use resolver::{Resolver, SystemResolver};
pub use target::{PATH_BYTES_MAX, Target, TargetFault, URL_BYTES_MAX, is_public_name};
pub use understudy::{Seen, Understudy};

use crate::domain::ids::TenantId;
use slots::Slots;

/// Lets libraries that bring no cryptography of their own use what this module uses.
pub fn provide_cryptography() {
    // Whoever was first has installed the same.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Requests of one purpose under way at once, for all tenants and for each.
pub const REQUESTS_MAX: usize = 256;
/// As above, for one tenant.
pub const REQUESTS_OF_TENANT_MAX: usize = 48;
/// How long a request waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);

/// What a request is for; those of one purpose do not wait for the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Delivering an event.
    Webhook,
    /// A plugin's call.
    Plugin,
}

/// How requests are made.
pub struct Options {
    /// How far they reach.
    pub reach: Reach,
    /// Certificate authorities that are trusted beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What looks names up.
    pub resolver: Arc<dyn Resolver>,
}

impl Default for Options {
    fn default() -> Self {
        Self { reach: Reach::Public, authorities: Vec::new(), resolver: SystemResolver::shared() }
    }
}

/// Reads the certificates of a file in PEM.
///
/// # Errors
/// What is wrong with it, or that there are none.
pub fn read_authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}

/// The client; cheap to clone.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    reach: Reach,
    other_side: OtherSide,
    webhooks: Slots,
    plugins: Slots,
}

/// Who answers.
enum OtherSide {
    Network { resolver: Arc<dyn Resolver>, connector: TlsConnector },
    Understudy(Arc<dyn Understudy>),
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Outbound {
    /// A client.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { reach, authorities, resolver } = options;
        if reach == Reach::Private {
            tracing::warn!(
                "`outbound.allow_private` is on: webhooks and plugins reach this machine and its network, without \
                 TLS too; never serve strangers like this"
            );
        }
        let connector = exchange::connector(&authorities);
        Self::with(reach, OtherSide::Network { resolver, connector })
    }

    /// A client that checks and counts like any other and never opens a connection: `understudy` answers
    /// for everybody. For rehearsals; no setting of a server makes one.
    #[must_use]
    pub fn rehearsing(understudy: Arc<dyn Understudy>) -> Self {
        Self::with(Reach::Public, OtherSide::Understudy(understudy))
    }

    fn with(reach: Reach, other_side: OtherSide) -> Self {
        let slots = || Slots::new(REQUESTS_MAX, REQUESTS_OF_TENANT_MAX);
        Self(Arc::new(Inner { reach, other_side, webhooks: slots(), plugins: slots() }))
    }

    /// How far requests reach; addresses are read with it.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.0.reach
    }

    /// Sends a request and waits for the whole answer, within the request's time.
    ///
    /// # Errors
    /// [`Failure`]; whether the other side has got the request is then often unknown.
    pub async fn send(
        &self,
        purpose: Purpose,
        tenant: &TenantId,
        request: &Request,
    ) -> Result<Answer, Failure> {
        let Inner { reach, other_side, webhooks, plugins } = &*self.0;
        let slots = match purpose {
            Purpose::Webhook => webhooks,
            Purpose::Plugin => plugins,
        };
        let _slot = slots.take(tenant, TURN_WAIT).await.ok_or(Failure::Busy)?;
        let time = request.limits.time;
        let exchange = Box::pin(async {
            match other_side {
                OtherSide::Network { resolver, connector } => {
                    let addresses = addresses(*reach, &**resolver, tenant, &request.target).await?;
                    exchange::exchange(connector, *reach, &addresses, request).await
                }
                OtherSide::Understudy(understudy) => understudy::ask(&**understudy, request),
            }
        });
        let answer = tokio::time::timeout(time, exchange).await;
        let answer = answer.unwrap_or(Err(Failure::Timeout { seconds: time.as_secs() }));
        if let Err(failure) = &answer {
            tracing::debug!(?failure, target = ?request.target, %tenant, "a request to another server has failed");
        }
        answer
    }
}

/// The addresses of a host that may be reached.
async fn addresses(
    reach: Reach,
    resolver: &dyn Resolver,
    tenant: &TenantId,
    target: &Target,
) -> Result<Vec<IpAddr>, Failure> {
    let found = match target.literal() {
        Some(address) => vec![address],
        None => match resolver.resolve(tenant, target.host()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, ?target, %tenant, "a name could not be looked up");
                return Err(Failure::Unreachable);
            }
        },
    };
    let allowed: Vec<_> = found.iter().copied().filter(|address| reach.allows(*address)).collect();
    if allowed.len() < found.len() {
        tracing::info!(?target, %tenant, ?found, "a name has addresses that may not be reached");
    }
    if allowed.is_empty() { Err(Failure::Unreachable) } else { Ok(allowed) }
}
