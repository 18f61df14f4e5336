//! Which certificates of clients are good: those that are for Go, by `client_auth_type` and `client_allowed_sans`.

use std::{net::IpAddr, sync::Arc};

use narthex_common::config::web::ClientAuth;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::http_client::is_an_authority;

/// Looks at what clients show.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    /// None when any certificate will do.
    webpki: Option<Arc<dyn ClientCertVerifier>>,
    /// Certificates that are good as they are, because they are among the authorities: what `openssl req -x509` makes.
    trusted: Vec<CertificateDer<'static>>,
    allowed_sans: Vec<String>,
    is_required: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertificates {
    /// By these settings, with these authorities.
    pub(super) fn new(
        client_auth: ClientAuth,
        authorities: Vec<CertificateDer<'static>>,
        allowed_sans: &[String],
        provider: Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let webpki = if client_auth.is_verified() {
            let mut roots = RootCertStore::empty();
            // As Go does, what cannot serve as an authority is passed over as long as something can.
            let (usable, _) = roots.add_parsable_certificates(authorities.iter().cloned());
            anyhow::ensure!(usable > 0, "no certificate in it can be used");
            Some(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?)
        } else {
            None
        };
        let (allowed_sans, is_required) = (allowed_sans.to_vec(), client_auth.is_required());
        Ok(Self { webpki, trusted: authorities, allowed_sans, is_required, provider })
    }

    fn has_an_allowed_name(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        if self.allowed_sans.is_empty() {
            return Ok(true);
        }
        let certificate =
            webpki::EndEntityCert::try_from(certificate).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        let is_allowed = |name: &str| self.allowed_sans.iter().any(|allowed| allowed == name);
        let has_address = |allowed: &String| {
            let Ok(address) = allowed.parse::<IpAddr>() else { return false };
            certificate.verify_is_valid_for_subject_name(&ServerName::from(address)).is_ok()
        };
        Ok(certificate.valid_dns_names().any(is_allowed)
            || certificate.valid_uri_names().any(is_allowed)
            || self.allowed_sans.iter().any(has_address))
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.as_ref().map_or(&[], |webpki| webpki.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(webpki) = &self.webpki {
            match webpki.verify_client_cert(end_entity, intermediates, now) {
                Ok(_) => {}
                // WebPKI looks at the time before it looks at what kind of certificate it is.
                Err(Error::InvalidCertificate(why)) if is_an_authority(&why) && self.trusted.contains(end_entity) => {}
                Err(Error::InvalidCertificate(why)) if is_an_authority(&why) => {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                Err(other) => return Err(other),
            }
        }
        if self.has_an_allowed_name(end_entity)? {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    // Whoever shows a certificate must have its key, also where any certificate will do: Go sees to that, too.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
