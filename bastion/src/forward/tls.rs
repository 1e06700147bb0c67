//! TLS towards a receiver: whom to believe, and how to show who we are.

use std::path::Path;
use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::WayError;
use crate::config::{Trust, read_private, read_text};

/// Reads what `trust` names.
pub(super) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, WayError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &trust.ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority)?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier()?,
    };
    let config = match &trust.client {
        Some((certificate, key)) => {
            builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Reads what of it is for everybody.
pub(super) fn check(trust: &Trust) -> Result<(), WayError> {
    match &trust.ca_file {
        Some(path) => certificates(path).map(drop),
        None => Ok(()),
    }
}

/// The name that the receiver's certificate must have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, WayError> {
    ServerName::try_from(host.to_owned()).map_err(|_| WayError::Name(host.to_owned()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WayError> {
    let text = read_text(path, PEM_MAX)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(WayError::Wrong {
            path: path.to_owned(),
            what: "there is no certificate in PEM format in it".to_owned(),
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, WayError> {
    let text = read_private(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| WayError::Wrong {
        path: path.to_owned(),
        what: "there is no private key in PEM format in it".to_owned(),
    })
}

/// A bundle of all public authorities has a quarter of this.
const PEM_MAX: u64 = 1024 * 1024;
