//! What signatures of requests are made of: SHA-256, and HMAC with it.

use hmac::{Hmac, KeyInit, Mac};
use object_store::{
    Result,
    client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm},
};
use sha2::{Digest, Sha256};

/// Both, by the crates `sha2` and `hmac`.
#[derive(Debug)]
pub(super) struct Provider;

impl CryptoProvider for Provider {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Sum(Sha256::new(), [0; 32]))),
            other => Err(unknown(&other)),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let mac =
                    Hmac::<Sha256>::new_from_slice(secret).map_err(|error| refused(error.to_string()))?;
                Ok(Box::new(Code(mac, [0; 32])))
            }
            other => Err(unknown(&other)),
        }
    }

    /// No store that is spoken to here asks for it.
    fn sign(&self, algorithm: SigningAlgorithm, _: &[u8]) -> Result<Box<dyn Signer>> {
        Err(unknown(&algorithm))
    }
}

struct Sum(Sha256, [u8; 32]);

impl DigestContext for Sum {
    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.1 = self.0.finalize_reset().into();
        Ok(&self.1)
    }
}

struct Code(Hmac<Sha256>, [u8; 32]);

impl HmacContext for Code {
    fn update(&mut self, data: &[u8]) {
        Mac::update(&mut self.0, data);
    }

    fn finish(&mut self) -> Result<&[u8]> {
        self.1 = self.0.clone().finalize().into_bytes().into();
        Ok(&self.1)
    }
}

fn unknown(algorithm: &dyn std::fmt::Debug) -> object_store::Error {
    refused(format!("{algorithm:?} is not known here"))
}

fn refused(reason: String) -> object_store::Error {
    object_store::Error::NotSupported { source: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::hex;

    #[test]
    fn sums_and_codes_are_those_of_the_standards() {
        let mut sum = Provider.digest(DigestAlgorithm::Sha256).unwrap();
        sum.update(b"a");
        sum.update(b"bc");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(sum.finish().unwrap()), abc);
        // The second case of RFC 4231.
        let mut code = Provider.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        code.update(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(code.finish().unwrap()), expected);
    }
}
