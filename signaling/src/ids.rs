//! Names of things above the media core. All are opaque here: the portal chooses them and knows what they stand for.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// A visit. A short random string chosen by the portal; fit for logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VisitId(Arc<str>);

/// A person of a visit: the same for every device and every return of that person. Not for logs, hence `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonId(Arc<str>);

macro_rules! opaque {
    ($name:ident) => {
        impl $name {
            /// Takes 1 to [`limits::MAX_ID_BYTES`] visible ASCII bytes; anything else is `None`.
            #[must_use]
            pub fn new(text: &str) -> Option<Self> {
                let fits =
                    (1..=limits::MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
                fits.then(|| Self(text.into()))
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}
opaque!(VisitId);
opaque!(PersonId);

impl fmt::Display for VisitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonId(..)")
    }
}

/// The name a person is shown by. Protected health information, hence neither `Debug` nor `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Keeps at most [`limits::MAX_NAME_CHARS`] characters and drops control characters. May be empty.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(limits::clean_text(text, limits::MAX_NAME_CHARS))
    }

    /// For showing to the people of the visit, and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A stay of a person in a visit, for logs and HTTP paths: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StayId(u64);

impl StayId {
    /// From a random number.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        Self(bits)
    }

    /// The number, which is as random as the stay and says as little.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Reads what [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for StayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_visible_ascii() {
        assert_eq!(VisitId::new("v-1").map(|v| v.to_string()), Some("v-1".to_owned()));
        for bad in ["", "a b", "ü", &"x".repeat(65)] {
            assert!(VisitId::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_stay_reads_what_it_wrote_and_nothing_else() {
        let stay = StayId::from_random(0xab);
        assert_eq!(StayId::parse(&stay.to_string()), Some(stay));
        for bad in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc"] {
            assert_eq!(StayId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn people_do_not_show_in_debug_output() {
        let person = PersonId::new("jane").expect("valid");
        assert_eq!(format!("{person:?}"), "PersonId(..)");
    }

    #[test]
    fn names_lose_control_characters_and_length() {
        assert_eq!(DisplayName::new(" Ana\u{202e}\n B ").reveal(), "Ana B");
        assert_eq!(
            DisplayName::new(&"é".repeat(500)).reveal().chars().count(),
            limits::MAX_NAME_CHARS
        );
    }
}
