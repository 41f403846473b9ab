//! Plugins in an OCI registry: an operator installs from it, a publisher puts packages there.
//!
//! A package is an artifact with one layer that is the component, and one for each signature beside it.
//! The registry is trusted with nothing: every layer is checked against its digest, and the signatures
//! decide what comes in, as they do for a file.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::args::RegistryLogin;
use super::output::{Failure, Outcome};
use crate::domain::package::SIGNATURES_MAX;
use crate::{files, outbound};

/// The media type of a package itself.
const COMPONENT: &str = "application/wasm";
/// That of the text of a `.sig` file.
const SIGNATURE: &str = "application/vnd.hospes.signature.v1";
/// That of the artifact and of its configuration, which nobody needs.
const ARTIFACT: &str = "application/vnd.hospes.plugin.v1+json";

/// How long a registry may take to accept a connection, and to send the next bytes.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The largest file of a password that is read, and the largest signature that is fetched.
const PASSWORD_BYTES_MAX: u64 = 4 << 10;
const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// A package as a registry has it: its bytes, and the texts of the signatures beside it.
pub(super) type Fetched = (Vec<u8>, Vec<String>);

/// One artifact in a registry, and how to come at it.
struct Place {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

/// Fetches the package at an address such as `oci://registry.example/acme/stamps:1.0.0`.
pub(super) async fn fetch(address: &str, login: &RegistryLogin) -> Outcome<Fetched> {
    let place = Place::at(address, login)?;
    let Place { client, reference, auth } = &place;
    let (manifest, _digest) = client.pull_image_manifest(reference, auth).await.map_err(failed(address))?;
    let of_type =
        |media_type: &'static str| manifest.layers.iter().filter(move |layer| layer.media_type == media_type);
    let components: Vec<&OciDescriptor> = of_type(COMPONENT).collect();
    let [component] = components.as_slice() else {
        return Err(Failure::failed(format!(
            "`{address}` is no plugin: it has {} layers of the type {COMPONENT}, and not one",
            components.len()
        )));
    };
    let signatures: Vec<&OciDescriptor> = of_type(SIGNATURE).collect();
    if signatures.len() > SIGNATURES_MAX {
        return Err(Failure::failed(format!("`{address}` has more than {SIGNATURES_MAX} signatures")));
    }
    let bytes = place.layer(address, component, files::COMPONENT_BYTES_MAX).await?;
    let mut texts = Vec::with_capacity(signatures.len());
    for signature in signatures {
        let text = place.layer(address, signature, SIGNATURE_BYTES_MAX).await?;
        let text = String::from_utf8(text);
        texts.push(text.map_err(|_bytes| Failure::failed(format!("a signature of `{address}` is no text")))?);
    }
    Ok((bytes, texts))
}

/// Puts a package and the signatures beside it at an address; answers the address by digest, under
/// which it never changes.
pub(super) async fn push(
    address: &str,
    (component, signatures): (Vec<u8>, Vec<String>),
    about: BTreeMap<String, String>,
    login: &RegistryLogin,
) -> Outcome<String> {
    let Place { client, reference, auth } = Place::at(address, login)?;
    let mut layers = vec![ImageLayer::new(component, COMPONENT.to_owned(), None)];
    layers.extend(signatures.into_iter().map(|text| ImageLayer::new(text, SIGNATURE.to_owned(), None)));
    let config = Config::new("{}", ARTIFACT.to_owned(), None);
    let mut manifest = OciImageManifest::build(&layers, &config, Some(about));
    manifest.artifact_type = Some(ARTIFACT.to_owned());
    let pushed = client.push(&reference, &layers, config, &auth, Some(manifest));
    pushed.await.map_err(failed(address))?;
    let digest = client.fetch_manifest_digest(&reference, &auth).await.map_err(failed(address))?;
    Ok(format!("oci://{}/{}@{digest}", reference.registry(), reference.repository()))
}

impl Place {
    fn at(address: &str, login: &RegistryLogin) -> Outcome<Self> {
        let named = address.strip_prefix(super::args::REGISTRY_SCHEME).unwrap_or(address);
        let reference: Reference =
            named.parse().map_err(|error| Failure::usage(format!("`{address}` is no address: {error}")))?;
        // A registry on this machine is seldom behind TLS, and nobody is between.
        let is_here = reference.registry().rsplit_once(':').map_or(reference.registry(), |(host, _)| host);
        let protocol = if matches!(is_here, "127.0.0.1" | "localhost" | "[::1]") {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        };
        outbound::provide_cryptography();
        let config = ClientConfig {
            protocol,
            read_timeout: Some(SILENCE_MAX),
            connect_timeout: Some(CONNECT_TIME_MAX),
            ..ClientConfig::default()
        };
        Ok(Self { client: Client::new(config), reference, auth: auth_of(login)? })
    }

    /// A layer, whose digest the library checks.
    async fn layer(&self, address: &str, layer: &OciDescriptor, bytes_max: u64) -> Outcome<Vec<u8>> {
        let too_large = || Failure::failed(format!("`{address}` has a layer of more than {bytes_max} bytes"));
        if u64::try_from(layer.size).map_or(true, |size| size > bytes_max) {
            return Err(too_large());
        }
        let mut pieces =
            self.client.pull_blob_stream(&self.reference, layer).await.map_err(failed(address))?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.try_next().await.map_err(failed(address))? {
            // What the manifest says of the size is the registry's word alone.
            if (bytes.len() + piece.len()) as u64 > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

fn auth_of(login: &RegistryLogin) -> Outcome<RegistryAuth> {
    let RegistryLogin { registry_user, registry_password_file } = login;
    let (Some(user), Some(file)) = (registry_user, registry_password_file) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let password = files::read_text(file, PASSWORD_BYTES_MAX)?;
    Ok(RegistryAuth::Basic(user.clone(), password.trim_end_matches(['\r', '\n']).to_owned()))
}

fn failed<E: std::fmt::Display>(address: &str) -> impl Fn(E) -> Failure + '_ {
    move |error| Failure::failed(format!("`{address}`: {error}"))
}
