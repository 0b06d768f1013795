//! Certificates, made as a test needs them.

use std::path::{Path, PathBuf};

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

/// What a certificate says.
pub(crate) struct Says<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) dns: Option<&'a str>,
    pub(crate) ip: Option<&'a str>,
    /// When it began to be good and until when, in seconds since 1970.
    pub(crate) good: (i64, i64),
    pub(crate) client: bool,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Self { name: None, dns: None, ip: None, good: (now() - 3600, now() + 3600), client: false }
    }
}

pub(crate) fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64
}

/// A root.
pub(crate) fn root(name: &str) -> Pair {
    make(&Says { name: Some(name), ..Says::default() }, None)
}

/// A certificate that a root vouches for.
pub(crate) fn leaf(root: &Pair, says: &Says<'_>) -> Pair {
    make(says, Some(root))
}

fn make(says: &Says<'_>, root: Option<&Pair>) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    if let Some(common) = says.name {
        name.append_entry_by_text("CN", common).unwrap();
    }
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(root.map_or(&name, |root| root.certificate.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(says.good.0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(says.good.1).unwrap()).unwrap();
    if root.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let mut usage = ExtendedKeyUsage::new();
        let usage = if says.client { usage.client_auth() } else { usage.server_auth() };
        builder.append_extension(usage.build().unwrap()).unwrap();
    }
    if says.dns.is_some() || says.ip.is_some() {
        let mut names = SubjectAlternativeName::new();
        if let Some(dns) = says.dns {
            names.dns(dns);
        }
        if let Some(ip) = says.ip {
            names.ip(ip);
        }
        let names = names.build(&builder.x509v3_context(root.map(|root| &*root.certificate), None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(root.map_or(&key, |root| &root.key), MessageDigest::sha256()).unwrap();
    Pair { certificate: builder.build(), key }
}

impl Pair {
    /// Its files in a folder: the certificate and the key.
    pub(crate) fn files(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, self.certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key, self.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        (certificate, key)
    }
}
