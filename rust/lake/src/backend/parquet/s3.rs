//! Stores that speak S3.
//!
//! Signatures are made here; requests are sent by whoever uses the lake, who has an HTTP client already, and with it
//! certificates, proxies and what else a network asks for.

mod crypto;
mod transport;

use std::sync::Arc;

use object_store::{ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, prefix::PrefixStore};
pub use transport::{Request, Response, SendError, Transport};

use super::ParquetBackend;
use crate::error::{Error, Result};

/// Where a bucket is, and who asks.
#[derive(Clone, Default)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// What paths begin with; empty: nothing.
    pub prefix: String,
    /// The server, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Who asks; without it requests are not signed.
    pub credentials: Option<Credentials>,
    /// Whether requests may go unencrypted.
    pub allow_http: bool,
    /// How often a request is tried again that failed for a reason that may pass.
    pub retries: usize,
}

/// What requests are signed with.
#[derive(Clone)]
pub struct Credentials {
    /// The key's name.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// The session it is for, if it is for one.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({:?}, {:?}, {:?})", self.bucket, self.prefix, self.endpoint)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.access_key_id)
    }
}

impl ParquetBackend {
    /// A backend over a bucket.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for options that cannot be meant.
    pub fn in_s3(id: impl Into<String>, s3: &S3, transport: Arc<dyn Transport>) -> Result<Self> {
        let retry = RetryConfig { max_retries: s3.retries, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&s3.bucket)
            .with_client_options(ClientOptions::new().with_allow_http(s3.allow_http))
            .with_allow_http(s3.allow_http)
            .with_retry(retry)
            .with_crypto_provider(Arc::new(crypto::Provider))
            .with_http_connector(transport::Connector::new(transport))
            .with_region(s3.region.as_deref().unwrap_or("us-east-1"));
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(credentials) = &s3.credentials {
            builder = builder
                .with_access_key_id(&credentials.access_key_id)
                .with_secret_access_key(&credentials.secret_access_key);
            if let Some(token) = &credentials.session_token {
                builder = builder.with_token(token);
            }
        } else {
            builder = builder.with_skip_signature(true);
        }
        let store = builder
            .build()
            .map_err(|error| Error::invalid_parameter("s3", "options of a bucket", error.to_string()))?;
        let prefix = s3.prefix.trim_matches('/');
        let (store, url): (Arc<dyn ObjectStore>, String) = if prefix.is_empty() {
            (Arc::new(store), format!("s3://{}", s3.bucket))
        } else {
            (Arc::new(PrefixStore::new(store, prefix)), format!("s3://{}/{prefix}", s3.bucket))
        };
        Ok(Self::in_store(id, store, &url))
    }
}
