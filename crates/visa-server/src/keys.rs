//! API keys: kept as SHA-256 digests, compared in constant time.
//!
//! Keys are random and long ([`new_key`]), so that a plain digest is as good as a slow one: nobody searches 256 bits.

use rand::RngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digests of the keys that are let in, each with a name for logs.
#[derive(Clone, Default)]
pub struct Keys(Vec<(String, [u8; 32])>);

/// Why a configured key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no key digest; give 64 hexadecimal digits, or name:digits, as `visa serve --new-key` prints them"
)]
pub struct KeyError {
    /// What was given, cut short: it may be a key by mistake.
    given: String,
}

impl Keys {
    /// Reads `digest` or `name:digest`.
    ///
    /// # Errors
    /// [`KeyError`] when it is neither; the message shows four characters at most.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for given in list {
            let given = given.as_ref().trim();
            let (name, digits) = given.split_once(':').unwrap_or(("key", given));
            let digest = unhex(digits).ok_or_else(|| KeyError {
                given: format!("{}…", given.chars().take(4).collect::<String>()),
            })?;
            keys.push((name.to_string(), digest));
        }
        Ok(Self(keys))
    }

    /// Whether nobody needs a key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the key that was presented. Every digest is compared, so that the time tells nothing.
    pub(crate) fn name(&self, presented: &str) -> Option<&str> {
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = None;
        for (name, known) in &self.0 {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(name.as_str());
            }
        }
        found
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Keys({names:?})")
    }
}

/// A fresh key and its digest, both to be shown once.
pub fn new_key() -> (String, String) {
    let mut bytes = [0u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let key = format!("visa-{}", hex(&bytes));
    let digest = hex(&Sha256::digest(key.as_bytes()));
    (key, digest)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0u8; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_by_its_digest_alone() {
        let (key, digest) = new_key();
        let (other, _) = new_key();
        let keys = Keys::parse(&[format!("team-a:{digest}")]).expect("a digest");
        assert_eq!(keys.name(&key), Some("team-a"));
        for wrong in [other.as_str(), "", &digest, &key[1..], &key.to_uppercase()] {
            assert_eq!(keys.name(wrong), None, "{wrong}");
        }
        assert!(!format!("{keys:?}").contains(&digest));
    }

    #[test]
    fn what_is_no_digest_is_refused_without_being_told() {
        for wrong in [
            "visa-0123456789abcdef",
            "",
            "a:b",
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            let error = Keys::parse(&[wrong]).expect_err(wrong);
            assert!(!error.to_string().contains("456789"), "{error}");
        }
    }
}
