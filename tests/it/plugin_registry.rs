//! Plugins from an OCI registry: Debian's own, on this machine. Where `docker-registry` is not
//! installed, a line says that these tests are passed over.
#![expect(clippy::print_stderr, reason = "says what is passed over")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hospes_tests::guests;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::process::Site;

const PROGRAM: &str = "docker-registry";
/// How long the registry may take to listen, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// A registry with nothing in it. It dies with this.
struct Registry {
    address: SocketAddr,
    folder: tempfile::TempDir,
    _process: Child,
}

impl Registry {
    /// Nothing if there is no registry on this machine.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.path().join("blobs") } },
            "http": { "addr": address.to_string() },
        });
        // JSON is YAML.
        let file = folder.path().join("registry.yml");
        std::fs::write(&file, settings.to_string()).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&file).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("`{PROGRAM}` was not found: installing from a registry is passed over");
            return None;
        };
        let listens = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("the registry listens");
        Some(Self { address, folder, _process: process })
    }

    fn place(&self, tag: &str) -> String {
        format!("oci://{}/partners/probe:{tag}", self.address)
    }

    /// The file in which the registry keeps these bytes.
    fn blob(&self, bytes: &[u8]) -> PathBuf {
        let mut folders = vec![self.folder.path().join("blobs")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path).unwrap() == bytes {
                    return path;
                }
            }
        }
        panic!("the registry does not have these bytes");
    }
}

fn write(site: &Site, name: &str, bytes: &[u8]) -> String {
    let path = site.path(name);
    std::fs::write(&path, bytes).unwrap();
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_package_comes_from_a_registry_by_tag_and_by_digest() {
    let Some(registry) = Registry::start().await else { return };
    let site = Site::on_sqlite("CNY").await;
    let package = write(&site, "probe.wasm", guests::PROBE);
    let place = registry.place("1.0.0");
    let pushed = site.command(&["plugin", "push", &package, &place]).await;
    assert!(pushed.contains("pushed probe 1.0.0"), "{pushed}");
    assert!(site.command(&["plugin", "install", &place]).await.contains("installed probe 1.0.0"));
    let by_digest = pushed.split('`').nth(1).unwrap();
    assert!(by_digest.contains("@sha256:"), "{pushed}");
    assert!(site.command(&["plugin", "install", by_digest]).await.contains("installed probe 1.0.0"));
    site.command(&["plugin", "enable", "probe", "--all-grants"]).await;

    let missing = site.refused(&["plugin", "install", &registry.place("2.0.0")]).await;
    assert!(missing.contains("2.0.0"), "{missing}");
    let nonsense = site.refused(&["plugin", "install", "oci://"]).await;
    assert!(nonsense.contains("is no address"), "{nonsense}");
}

#[tokio::test]
async fn a_registry_is_believed_nothing() {
    let Some(registry) = Registry::start().await else { return };
    let site = Site::on_sqlite("CNY").await;
    let package = write(&site, "probe.wasm", guests::PROBE);
    let key = text(&site.path("key.pem"));
    site.command(&["plugin", "keygen", &key]).await;

    // A signature goes with its package, and one of something else keeps that out.
    site.command(&["plugin", "sign", &package, "--key", &key]).await;
    let other = write(&site, "spy.wasm", guests::SPY);
    std::fs::copy(format!("{package}.sig"), format!("{other}.sig")).unwrap();
    let foreign = registry.place("foreign");
    site.command(&["plugin", "push", &other, &foreign]).await;
    let refused = site.refused(&["plugin", "install", &foreign]).await;
    assert!(refused.contains("signature"), "{refused}");
    let signed = registry.place("signed");
    site.command(&["plugin", "push", &package, &signed]).await;

    // What is not what was pushed is not taken.
    let blob = registry.blob(guests::PROBE);
    let mut changed = guests::PROBE.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(&blob, &changed).unwrap();
    let refused = site.refused(&["plugin", "install", &signed]).await;
    assert!(refused.to_lowercase().contains("digest"), "{refused}");
    std::fs::write(&blob, guests::PROBE).unwrap();
    site.command(&["plugin", "install", &signed]).await;
}
