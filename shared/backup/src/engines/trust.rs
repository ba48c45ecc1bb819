//! Which authorities may vouch for a database server: the same for every connection.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use holdfast_domain::application::Tls;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::error::SliceError;

/// Amazon's authorities for RDS; see `rds-roots.md` for their source.
static RDS_ROOTS: &[u8] = include_bytes!("rds-roots.pem");

/// Authorities that are trusted to vouch for a server.
pub(super) struct Trust {
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Whom `tls` trusts; none where the connection is not encrypted.
    pub(super) fn of(tls: &Tls) -> Result<Option<Self>, SliceError> {
        match tls {
            Tls::Disable => Ok(None),
            Tls::VerifyFull { ca_pem: Some(pem) } => Self::given(pem).map(Some),
            Tls::VerifyFull { ca_pem: None } => Ok(Some(Self::well_known())),
        }
    }

    fn given(pem: &str) -> Result<Self, SliceError> {
        let refused = |why: String| {
            SliceError::permanent(
                "ca_unreadable",
                format!(
                    "tls.ca_pem holds no certificate that can be used ({why}); register the authority's certificate as PEM"
                ),
            )
        };
        let certificates = parse(pem.as_bytes()).map_err(|error| refused(error.to_string()))?;
        if certificates.is_empty() {
            return Err(refused("there is no BEGIN CERTIFICATE in it".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| refused(error.to_string()))?;
        }
        Ok(Self { certificates })
    }

    /// Amazon RDS's authorities and those that this machine trusts.
    fn well_known() -> Self {
        // What the file holds is known and tested; a machine without public authorities still has RDS's.
        let mut certificates = parse(RDS_ROOTS).unwrap_or_default();
        certificates.extend(rustls_native_certs::load_native_certs().certs);
        Self { certificates }
    }

    /// The same for a program that reads them from a file, as PEM.
    pub(super) fn to_pem(&self) -> String {
        let block = |certificate: &CertificateDer<'_>| {
            let text = BASE64_STANDARD.encode(certificate);
            // The text is ASCII; a line has 64 characters (RFC 7468).
            let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
        };
        self.certificates.iter().map(block).collect()
    }

    /// How to connect with rustls.
    pub(super) fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        // A machine's store may hold oddities that no verifier can use; those vouch for nobody.
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rds_root_can_vouch() {
        let certificates = parse(RDS_ROOTS).unwrap();
        let expected = std::str::from_utf8(RDS_ROOTS).unwrap().matches("BEGIN CERTIFICATE").count();
        assert_eq!((certificates.len(), expected), (86, 86));
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).unwrap();
        }
        assert!(RDS_ROOTS.len() < 300 * 1024);
    }

    #[test]
    fn what_is_written_for_a_program_reads_back() {
        let trust = Trust { certificates: parse(RDS_ROOTS).unwrap() };
        assert!(parse(trust.to_pem().as_bytes()).unwrap() == trust.certificates);
    }

    #[test]
    fn text_without_a_certificate_is_refused_and_says_what_to_do() {
        for pem in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let tls = Tls::VerifyFull { ca_pem: Some(pem.to_owned()) };
            let Err(SliceError::Failed(failure)) = Trust::of(&tls) else { panic!("{pem:?} was accepted") };
            assert_eq!(failure.code, "ca_unreadable");
            assert!(!failure.transient);
            assert!(!failure.message.contains("hunter2"));
        }
    }
}
