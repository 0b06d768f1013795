//! Ed25519 signatures over the witness of version 2.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    witness::{Witness, hex},
};

/// The name of the one algorithm there is.
#[cfg(feature = "sign")]
const ALGORITHM: &str = "ed25519";
/// What is signed, before the witness: no other message of the same key can be taken for one of these.
#[cfg(feature = "sign")]
const TAG: &[u8] = b"ruvector-lake-bundle-signature-v1|";

/// Whom a signature is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// A signature as a bundle carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Signature {
    algorithm: String,
    public_key: String,
    value: String,
}

/// Signs bundles.
#[derive(Clone)]
pub struct Signer {
    #[cfg(feature = "sign")]
    key: ed25519_dalek::SigningKey,
    #[cfg(not(feature = "sign"))]
    none: std::convert::Infallible,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(feature = "sign")]
impl Signer {
    /// The signer with this secret.
    pub fn from_seed(secret: [u8; 32]) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(&secret) }
    }

    /// What others know it by.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, witness: &Witness) -> Signature {
        use ed25519_dalek::Signer as _;
        let value = self.key.sign(&message(witness));
        Signature {
            algorithm: ALGORITHM.into(),
            public_key: self.public_key().to_hex(),
            value: hex(&value.to_bytes()),
        }
    }
}

#[cfg(not(feature = "sign"))]
impl Signer {
    pub(crate) fn sign(&self, _: &Witness) -> Signature {
        match self.none {}
    }
}

#[cfg(feature = "sign")]
fn message(witness: &Witness) -> Vec<u8> {
    [TAG, witness.as_bytes()].concat()
}

/// Whom a signature is of, once it is found to be a signature of this witness.
#[cfg(feature = "sign")]
pub(crate) fn verify(signature: &Signature, witness: &Witness, path: &Path) -> Result<PublicKey> {
    use crate::witness::from_hex;
    let refuse = |actual: &str| Error::WitnessMismatch {
        what: format!("{}: signature", path.display()),
        expected: "an ed25519 signature of the witness".into(),
        actual: actual.into(),
    };
    if signature.algorithm != ALGORITHM {
        return Err(refuse("another algorithm"));
    }
    let key =
        from_hex(&signature.public_key).ok_or_else(|| refuse("a key that is not 64 hexadecimal digits"))?;
    let value =
        from_hex(&signature.value).ok_or_else(|| refuse("a value that is not 128 hexadecimal digits"))?;
    let public = ed25519_dalek::VerifyingKey::from_bytes(&key)
        .map_err(|_| refuse("no point of the curve as its key"))?;
    public
        .verify_strict(&message(witness), &ed25519_dalek::Signature::from_bytes(&value))
        .map_err(|_| refuse("one of something else"))?;
    Ok(PublicKey(key))
}

/// A signature that cannot be checked is no signature, and nobody is told otherwise.
#[cfg(not(feature = "sign"))]
pub(crate) fn verify(_: &Signature, _: &Witness, path: &Path) -> Result<PublicKey> {
    Err(Error::WitnessMismatch {
        what: format!("{}: signature", path.display()),
        expected: "a build that knows ed25519".into(),
        actual: "one without the feature sign".into(),
    })
}
