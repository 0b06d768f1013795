//! TLS, and certificates of clients.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use ruvector_flight::{
    Catalog, Config, Server,
    auth::{Token, Verb},
    config::{LogTo, Tls},
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_openssl::SslStream;
use tonic::{Code, codegen::Service, transport::Uri};

use crate::{
    certificates::{Pair, Says, leaf, now, root},
    support::{Client, client, endpoint, runtime, search, serve},
};

/// Connects by TLS.
#[derive(Clone)]
struct Connector {
    address: SocketAddr,
    host: &'static str,
    ssl: SslConnector,
}

impl Connector {
    async fn open(self) -> io::Result<SslStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let ssl = self.ssl.configure().and_then(|ssl| ssl.into_ssl(self.host)).map_err(io::Error::other)?;
        let mut stream = SslStream::new(ssl, stream).map_err(io::Error::other)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<SslStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open().await.map(TokioIo::new) })
    }
}

fn connector(address: SocketAddr, trusted: &Pair, own: Option<&Pair>) -> Connector {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    let mut store = openssl::x509::store::X509StoreBuilder::new().unwrap();
    store.add_cert(trusted.certificate.clone()).unwrap();
    builder.set_cert_store(store.build());
    builder.set_alpn_protos(b"\x02h2").unwrap();
    if let Some(own) = own {
        builder.set_certificate(&own.certificate).unwrap();
        builder.set_private_key(&own.key).unwrap();
    }
    Connector { address, host: "127.0.0.1", ssl: builder.build() }
}

async fn through(connector: Connector) -> Result<Client, String> {
    let address = connector.address;
    let channel = endpoint(address).connect_with_connector(connector).await;
    channel.map(client).map_err(|error| format!("{error:?}"))
}

struct World {
    folder: TempDir,
    root: Pair,
    clients: Pair,
}

impl World {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), root: root("the root"), clients: root("the root of clients") }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, mutual: bool) -> Config {
        let own = leaf(&self.root, &Says { name: Some("server"), ip: Some("127.0.0.1"), ..Says::default() });
        let (certificates, key) = own.files(self.folder.path(), "server");
        let (roots, _) = self.clients.files(self.folder.path(), "clients");
        let tls = Tls { certificates, key, client_roots: mutual.then_some(roots) };
        Config { tls: Some(tls), log: LogTo::File(self.path("log")), ..Config::default() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }
}

fn person(root: &Pair, name: &str) -> Pair {
    leaf(root, &Says { name: Some(name), client: true, ..Says::default() })
}

#[test]
fn clients_that_trust_the_root_are_served_and_others_are_not() {
    let world = World::new();
    let server = serve(world.config(false));
    let address = server.address();
    runtime().block_on(async {
        let good = connector(address, &world.root, None);
        search(&mut through(good.clone()).await.unwrap(), None).await.unwrap();
        assert!(through(connector(address, &world.clients, None)).await.is_err());
        assert!(through(Connector { host: "elsewhere.example", ..good.clone() }).await.is_err());
        // Plain text, in both ways that it can be.
        assert!(search(&mut client(endpoint(address).connect_lazy()), None).await.is_err());
        let mut stream = TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _end = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP"));
        // Old versions, and other protocols inside.
        let mut old = SslConnector::builder(SslMethod::tls_client()).unwrap();
        old.set_verify(openssl::ssl::SslVerifyMode::NONE);
        old.set_security_level(0);
        old.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
        old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
        assert!(Connector { ssl: old.build(), ..good.clone() }.open().await.is_err());
        let mut other = SslConnector::builder(SslMethod::tls_client()).unwrap();
        other.set_verify(openssl::ssl::SslVerifyMode::NONE);
        other.set_alpn_protos(b"\x08http/1.1").unwrap();
        assert!(Connector { ssl: other.build(), ..good.clone() }.open().await.is_err());
        search(&mut through(good).await.unwrap(), None).await.unwrap();
    });
    assert!(server.stop());
    assert!(world.log().contains(r#""event":"connection refused""#), "{}", world.log());
}

#[test]
fn certificates_of_clients_say_who_they_are() {
    let world = World::new();
    let server = serve(world.config(true));
    let address = server.address();
    let ann = person(&world.clients, "ann");
    let expired = leaf(
        &world.clients,
        &Says { name: Some("ann"), client: true, good: (now() - 7200, now() - 3600), ..Says::default() },
    );
    let early = leaf(
        &world.clients,
        &Says { name: Some("ann"), client: true, good: (now() + 3600, now() + 7200), ..Says::default() },
    );
    let nobody = leaf(&world.clients, &Says { client: true, ..Says::default() });
    let server_only = leaf(&world.clients, &Says { name: Some("ann"), ..Says::default() });
    let named = leaf(&world.clients, &Says { dns: Some("bob.example"), client: true, ..Says::default() });
    runtime().block_on(async {
        let wrong = [
            ("none", None),
            ("expired", Some(&expired)),
            ("not yet", Some(&early)),
            ("without a name", Some(&nobody)),
            ("for servers", Some(&server_only)),
        ];
        let strangers = person(&world.root, "ann");
        for (what, own) in wrong.into_iter().chain([("of another root", Some(&strangers))]) {
            // In TLS 1.3 the client learns of it when it reads.
            let refused = match through(connector(address, &world.root, own)).await {
                Ok(mut client) => search(&mut client, None).await.is_err(),
                Err(_) => true,
            };
            assert!(refused, "{what}");
        }
        for own in [&ann, &named] {
            let mut client = through(connector(address, &world.root, Some(own))).await.unwrap();
            search(&mut client, None).await.unwrap();
        }
    });
    assert!(server.stop());
    let log = world.log();
    assert_eq!(log.matches(r#""principal":"ann""#).count(), 1, "{log}");
    assert_eq!(log.matches(r#""principal":"bob.example""#).count(), 1, "{log}");
    for why in ["did not return a certificate", "certificate verify failed", "a certificate without a name"] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

#[test]
fn a_token_is_asked_for_beside_a_certificate() {
    let world = World::new();
    let token = Token {
        secret: "a-secret".into(),
        principal: "carol".into(),
        collections: None,
        verbs: Verb::ALL.into(),
    };
    let server = serve(Config { tokens: vec![token], ..world.config(true) });
    let ann = person(&world.clients, "ann");
    runtime().block_on(async {
        let mut client = through(connector(server.address(), &world.root, Some(&ann))).await.unwrap();
        search(&mut client, Some("a-secret")).await.unwrap();
        assert_eq!(search(&mut client, None).await.unwrap_err().code(), Code::Unauthenticated);
        let naked = through(connector(server.address(), &world.root, None)).await;
        let refused = match naked {
            Ok(mut client) => search(&mut client, Some("a-secret")).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    });
    assert!(server.stop());
    assert!(world.log().contains(r#""principal":"carol""#));
    assert!(!world.log().contains("a-secret"));
}

#[test]
fn files_that_are_no_certificates_are_named_at_the_start() {
    let world = World::new();
    let good = world.config(true).tls.unwrap();
    let start = |tls: Tls| {
        let catalog = std::sync::Arc::new(Catalog::new(None, None));
        Server::start(catalog, Config { tls: Some(tls), ..Config::default() })
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(start(good.clone()), None);
    let absent = world.path("absent.pem");
    let broken = world.path("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n").unwrap();
    let empty = world.path("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let locked = world.path("locked.key");
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    std::fs::write(&locked, world.root.key.private_key_to_pem_pkcs8_passphrase(cipher, b"x").unwrap())
        .unwrap();
    let other = world.root.files(world.folder.path(), "other").1;
    let names = |error: Option<String>, path: &Path| {
        let error = error.expect("it does not start");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    };
    for path in [&absent, &broken, &empty] {
        names(start(Tls { certificates: path.clone(), ..good.clone() }), path);
        names(start(Tls { key: path.clone(), ..good.clone() }), path);
        names(start(Tls { client_roots: Some(path.clone()), ..good.clone() }), path);
    }
    for path in [&locked, &other] {
        names(start(Tls { key: path.clone(), ..good.clone() }), path);
    }
}

#[test]
fn handshakes_that_say_nothing_keep_nobody_out() {
    let world = World::new();
    let mut config = world.config(false);
    config.limits.handshake = std::time::Duration::from_millis(500);
    let server = serve(config);
    runtime().block_on(async {
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(server.address()).await.unwrap());
        }
        let mut client = through(connector(server.address(), &world.root, None)).await.unwrap();
        search(&mut client, None).await.unwrap();
        for stream in &mut silent {
            let mut byte = [0];
            let end = tokio::time::timeout(crate::support::LONG, stream.read(&mut byte)).await.unwrap();
            assert!(matches!(end, Ok(0) | Err(_)));
        }
        search(&mut client, None).await.unwrap();
    });
    assert!(server.stop());
}
