//! TLS by OpenSSL: what the server shows, and who a client's certificate was made for.

use std::{fs, io, path::Path, sync::Arc};

use openssl::{
    error::ErrorStack,
    nid::Nid,
    pkey::PKey,
    ssl::{
        AlpnError, SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslRef, SslSessionCacheMode,
        SslVerifyMode, SslVersion, select_next_proto,
    },
    stack::Stack,
    x509::{X509, X509NameRef, X509Ref, store::X509StoreBuilder},
};

use crate::{config::Tls, server::StartError};

/// HTTP/2, as ALPN writes it.
const H2: &[u8] = b"\x02h2";

/// Reads the files, once.
pub(crate) fn acceptor(tls: &Tls) -> Result<SslAcceptor, StartError> {
    let mut builder = base().map_err(|error| failed("tls", None, &error))?;
    let chain = read(&tls.certificates, "tls certificates")?;
    let chain = X509::stack_from_pem(&chain)
        .map_err(|error| failed("tls certificates", Some(&tls.certificates), &error))?;
    let wrong = |error: ErrorStack| failed("tls certificates", Some(&tls.certificates), &error);
    let mut chain = chain.into_iter();
    let Some(own) = chain.next() else {
        return Err(failed(
            "tls certificates",
            Some(&tls.certificates),
            &"expected certificates in pem, got none",
        ));
    };
    builder.set_certificate(&own).map_err(wrong)?;
    for between in chain {
        builder.add_extra_chain_cert(between).map_err(wrong)?;
    }
    let wrong = |error: ErrorStack| failed("tls key", Some(&tls.key), &error);
    // A key with a passphrase is refused: nobody is there to be asked.
    let key = PKey::private_key_from_pem_callback(&read(&tls.key, "tls key")?, |_| Ok(0)).map_err(wrong)?;
    builder.set_private_key(&key).map_err(wrong)?;
    builder.check_private_key().map_err(wrong)?;
    if let Some(roots) = &tls.client_roots {
        ask_for_certificates(&mut builder, roots)?;
    }
    Ok(builder.build())
}

fn base() -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder
        .set_alpn_select_callback(|_, offered| select_next_proto(H2, offered).ok_or(AlpnError::ALERT_FATAL));
    // No session is taken up again: a certificate that ran out since would not be looked at.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    builder.set_num_tickets(0)?;
    Ok(builder)
}

fn ask_for_certificates(builder: &mut SslAcceptorBuilder, path: &Path) -> Result<(), StartError> {
    let wrong = |error: ErrorStack| failed("tls client roots", Some(path), &error);
    let roots = X509::stack_from_pem(&read(path, "tls client roots")?).map_err(wrong)?;
    if roots.is_empty() {
        return Err(failed("tls client roots", Some(path), &"expected certificates in pem, got none"));
    }
    let mut store = X509StoreBuilder::new().map_err(wrong)?;
    let mut names = Stack::new().map_err(wrong)?;
    for root in roots {
        names.push(root.subject_name().to_owned().map_err(wrong)?).map_err(wrong)?;
        store.add_cert(root).map_err(wrong)?;
    }
    builder.set_verify_cert_store(store.build()).map_err(wrong)?;
    builder.set_client_ca_list(names);
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    Ok(())
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|source| StartError { what: format!("{what} {}", path.display()), source })
}

fn failed(what: &str, path: Option<&Path>, error: &dyn std::fmt::Display) -> StartError {
    let what = path.map_or_else(|| what.to_owned(), |path| format!("{what} {}", path.display()));
    StartError { what, source: io::Error::new(io::ErrorKind::InvalidData, error.to_string()) }
}

/// Who a client's certificate was made for: its common name, else the first of its other names. `Ok(None)` is a client
/// that was not asked for one; a certificate without a name says nobody, and nobody is let in by it.
pub(crate) fn identity(ssl: &SslRef) -> Result<Option<Arc<str>>, &'static str> {
    if !ssl.verify_mode().contains(SslVerifyMode::PEER) {
        return Ok(None);
    }
    let certificate = ssl.peer_certificate().ok_or("no certificate")?;
    name_of(&certificate).map(|name| Some(name.into())).ok_or("a certificate without a name")
}

fn name_of(certificate: &X509Ref) -> Option<String> {
    let good = |name: &String| {
        !name.is_empty()
            && name.len() <= 256
            && !name.chars().any(|letter| letter.is_control() || letter == char::REPLACEMENT_CHARACTER)
    };
    let common = common_name(certificate.subject_name());
    if common.is_some() {
        return common.filter(good);
    }
    let others = certificate.subject_alt_names()?;
    others
        .iter()
        .find_map(|name| name.uri().or_else(|| name.email()).or_else(|| name.dnsname()))
        .map(str::to_owned)
        .filter(good)
}

fn common_name(subject: &X509NameRef) -> Option<String> {
    let entry = subject.entries_by_nid(Nid::COMMONNAME).next()?;
    Some(entry.data().to_string().unwrap_or_default())
}
