//! The connection: plain, or TLS by OpenSSL.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::Uri;
use hyper_util::rt::TokioIo;
use openssl::{
    error::ErrorStack,
    ssl::{SslConnector, SslFiletype, SslMethod, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::{Options, Refused};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer may be under way before it is read.
const STREAM_WINDOW: u32 = 8 << 20;
/// The same for all answers together.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// What a client of HTTP/2 says in the handshake of TLS.
const PROTOCOL: &[u8] = b"\x02h2";

/// A channel to a server: connects when it is first used, and again when the connection breaks.
pub(super) fn channel(location: &str, options: &Options) -> Result<Channel, Refused> {
    let wrong =
        || Refused::invalid("url", "grpc://host:port or grpc+tls://host:port", format!("{location:?}"));
    let (scheme, authority) = location.split_once("://").ok_or_else(wrong)?;
    let secure = match scheme {
        "grpc" | "grpc+tcp" => false,
        "grpc+tls" => true,
        _ => return Err(wrong()),
    };
    let parsed: http::uri::Authority = authority.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let port = parsed.port_u16().ok_or_else(wrong)?;
    // Without TLS of its own, tonic takes no other scheme; what the server is told is the origin.
    let endpoint = Endpoint::from_shared(format!("http://{parsed}")).map_err(|_| wrong())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    if !secure {
        if options.roots.is_some() || options.certificate.is_some() {
            return Err(Refused::invalid("url", "grpc+tls:// with certificates", format!("{location:?}")));
        }
        return Ok(endpoint.connect_lazy());
    }
    let origin: Uri = format!("https://{parsed}").parse().map_err(|_| wrong())?;
    let host = parsed.host().trim_matches(['[', ']']).to_owned();
    let connector = connector(options)?;
    Ok(endpoint.origin(origin).connect_with_connector_lazy(Tls { connector, host, port }))
}

fn connector(options: &Options) -> Result<SslConnector, Refused> {
    let broken = |error: ErrorStack| Refused::invalid("tls", "what openssl takes", error);
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(broken)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(broken)?;
    builder.set_alpn_protos(PROTOCOL).map_err(broken)?;
    if let Some(roots) = &options.roots {
        let unread = |error: &dyn std::fmt::Display| {
            Refused::invalid(
                "roots",
                "a file of certificates in pem",
                format!("{}: {error}", roots.display()),
            )
        };
        let pem = std::fs::read(roots).map_err(|error| unread(&error))?;
        let certificates = X509::stack_from_pem(&pem).map_err(|error| unread(&error))?;
        if certificates.is_empty() {
            return Err(unread(&"there is none in it"));
        }
        let mut store = X509StoreBuilder::new().map_err(broken)?;
        for certificate in certificates {
            store.add_cert(certificate).map_err(broken)?;
        }
        builder.set_cert_store(store.build());
    }
    if let Some((certificate, key)) = &options.certificate {
        let unread = |path: &Path, error: &ErrorStack| {
            let actual = format!("{}: {error}", path.display());
            Refused::invalid("certificate", "files of a certificate and its key in pem", actual)
        };
        builder.set_certificate_chain_file(certificate).map_err(|error| unread(certificate, &error))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| unread(key, &error))?;
        builder.check_private_key().map_err(|error| unread(key, &error))?;
    }
    Ok(builder.build())
}

/// Connects and shakes hands.
#[derive(Clone)]
struct Tls {
    connector: SslConnector,
    host: String,
    port: u16,
}

impl Service<Uri> for Tls {
    type Response = TokioIo<SslStream<TcpStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let Self { connector, host, port } = self.clone();
        async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let ssl = connector.configure()?.into_ssl(&host)?;
            let mut stream = SslStream::new(ssl, stream)?;
            Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
            if stream.ssl().selected_alpn_protocol() != Some(&PROTOCOL[1..]) {
                return Err(io::Error::other("the server speaks no http/2"));
            }
            Ok(TokioIo::new(stream))
        }
        .boxed()
    }
}
