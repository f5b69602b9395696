//! Tokens: 256 random bits as text, of which only the SHA-256 is stored.
//!
//! Tokens are looked up by their hash, never compared with one another: what an attacker could learn from the time of an index
//! look-up is a prefix of a hash whose preimage has 256 unknown bits. That is why no constant-time comparison stands here.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Their length as unpadded base64url.
const TOKEN_TEXT: usize = 43;

/// What a token is good for; its prefix says so, to people and to secret scanners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Opens a visit as one person. Stands behind `/join#` or is a bearer for WHIP and WHEP.
    Link,
    /// What a link token is exchanged for; short-lived.
    Session,
    /// Lets an operator look at how well visits worked. A bearer, and stands behind `/ops#`.
    Operator,
}

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Link => "hc_",
            Self::Session => "hcs_",
            Self::Operator => "hco_",
        }
    }
}

/// A bearer secret in the clear. Neither `Debug` nor `Display`: it leaves by [`Token::expose`] only.
pub struct Token {
    kind: TokenKind,
    text: String,
}

impl Token {
    /// A fresh token.
    #[must_use]
    pub fn mint(kind: TokenKind) -> Self {
        let mut bytes = [0; TOKEN_BYTES];
        fill(&mut bytes);
        Self {
            kind,
            text: format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes)),
        }
    }

    /// Reads what somebody presented. `None` for anything that no server of ours has made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, body) = [TokenKind::Session, TokenKind::Operator, TokenKind::Link]
            .into_iter()
            .find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))?;
        let bytes = (body.len() == TOKEN_TEXT)
            .then(|| URL_SAFE_NO_PAD.decode(body).ok())
            .flatten()?;
        (bytes.len() == TOKEN_BYTES).then(|| Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// What it is good for.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The secret itself: for the person it belongs to, and for nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What is stored and looked up.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(hex::encode(digest::digest(&digest::SHA256, self.text.as_bytes())))
    }
}

/// SHA-256 of a token, in hexadecimal.
pub struct TokenHash(String);

impl TokenHash {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes of a version 4 UUID (RFC 9562 §5.4), from the same source as the tokens.
pub(crate) fn random_uuid_bytes() -> uuid::Bytes {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    *uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes()
}

fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system's random source works; without it nothing here is safe");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_differs_from_the_next() {
        for kind in [TokenKind::Link, TokenKind::Session, TokenKind::Operator] {
            let token = Token::mint(kind);
            let again = Token::parse(token.expose()).expect("own tokens parse");
            assert_eq!(again.kind(), kind);
            assert_eq!(again.hash().as_str(), token.hash().as_str());
            assert_ne!(Token::mint(kind).expose(), token.expose());
            assert!(!token.hash().as_str().contains(&token.expose()[4..]));
        }
    }

    #[test]
    fn foreign_text_is_no_token() {
        let good = Token::mint(TokenKind::Link);
        let long = format!("{}A", good.expose());
        for bad in [
            "",
            "hc_",
            "hcs_",
            "Bearer",
            "hc_zz",
            &good.expose()[..45],
            &long,
            &good.expose().replace("hc_", "xx_"),
        ] {
            assert!(Token::parse(bad).is_none(), "{} bytes", bad.len());
        }
    }
}
